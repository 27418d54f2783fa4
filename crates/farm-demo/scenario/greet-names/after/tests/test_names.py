import unittest

from greet.names import full_name, initials


class Names(unittest.TestCase):
    def test_full_name(self):
        self.assertEqual(full_name("Ada", "Lovelace"), "Ada Lovelace")
        self.assertEqual(full_name(" Ada ", "Lovelace\n"), "Ada Lovelace")

    def test_initials(self):
        self.assertEqual(initials("ada king lovelace"), "AKL")


if __name__ == "__main__":
    unittest.main()
