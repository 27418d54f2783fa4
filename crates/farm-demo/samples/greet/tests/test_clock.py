import unittest

from greet.clock import part_of_day


class Clock(unittest.TestCase):
    def test_day(self):
        self.assertEqual(part_of_day(9), "morning")
        self.assertEqual(part_of_day(12), "afternoon")
        self.assertEqual(part_of_day(18), "evening")


if __name__ == "__main__":
    unittest.main()
