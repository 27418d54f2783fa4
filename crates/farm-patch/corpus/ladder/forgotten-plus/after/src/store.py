import os


def load(path):
    # read the file
    check_the_path(path)
    with open(path, "rb") as handle:
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
