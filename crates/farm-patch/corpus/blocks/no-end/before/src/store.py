import os


def load(path):
    # read the file
    with open(path) as handle:
        data = handle.read()

    return data


def save(path, data):
    with open(path, "w") as handle:
        handle.write(data)
    return True


class Store:
    def load(self):
        return load(self.path)

    def close(self):
        return None
