"""Names of people."""


def full_name(first, last):
    """First and last name with one space between them and none around them."""
    return first.strip() + " " + last.strip()


def initials(name):
    """The first letters of a name, in upper case."""
    return "".join(part[0].upper() for part in name.split())
