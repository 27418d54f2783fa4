"""What is said, in which language."""

SALUTES = {
    "en": "Hello",
    "de": "Hallo",
    "fr": "Bonjour",
}


def languages():
    """The languages that are spoken here, in order."""
    return sorted(SALUTES)


def salute(name, language="en"):
    """Greets a name in a language."""
    word = SALUTES[language]
    return f"{word}, {name}!"
