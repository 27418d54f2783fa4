def a():
    x = 1
    y = 2
    new = 3

def a():
    x = 1
