import unittest

from greet.phrases import languages, salute


class Phrases(unittest.TestCase):
    def test_salute(self):
        self.assertEqual(salute("Ada"), "Hello, Ada!")
        self.assertEqual(salute("Ada", "fr"), "Bonjour, Ada!")

    def test_languages_are_in_order(self):
        self.assertEqual(languages(), sorted(languages()))


if __name__ == "__main__":
    unittest.main()
