def one():
    prepare()
    work()
    return None


def two():
    prepare()
    work()
