"""The time of day, as a greeting needs it."""


def part_of_day(hour):
    """The part of the day that an hour from 0 to 23 belongs to."""
    if hour < 5 or hour >= 22:
        return "night"
    if hour < 12:
        return "morning"
    if hour < 18:
        return "afternoon"
    return "evening"
