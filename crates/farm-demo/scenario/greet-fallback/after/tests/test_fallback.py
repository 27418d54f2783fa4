import unittest

from greet.phrases import salute


class Fallback(unittest.TestCase):
    def test_a_language_that_is_not_spoken(self):
        self.assertEqual(salute("Ada", "tlh"), "Hello, Ada!")


if __name__ == "__main__":
    unittest.main()
