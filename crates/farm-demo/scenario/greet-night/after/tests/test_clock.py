import unittest

from greet.clock import part_of_day


class Clock(unittest.TestCase):
    def test_day(self):
        self.assertEqual(part_of_day(9), "morning")
        self.assertEqual(part_of_day(12), "afternoon")
        self.assertEqual(part_of_day(18), "evening")

    def test_night(self):
        for hour in (22, 23, 0, 4):
            self.assertEqual(part_of_day(hour), "night", hour)
        self.assertEqual(part_of_day(5), "morning")


if __name__ == "__main__":
    unittest.main()
