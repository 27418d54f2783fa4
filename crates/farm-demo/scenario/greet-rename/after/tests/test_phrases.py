import unittest

from greet.phrases import languages, welcome


class Phrases(unittest.TestCase):
    def test_salute(self):
        self.assertEqual(welcome("Ada"), "Hello, Ada!")
        self.assertEqual(welcome("Ada", "fr"), "Bonjour, Ada!")

    def test_languages_are_in_order(self):
        self.assertEqual(languages(), sorted(languages()))


if __name__ == "__main__":
    unittest.main()
