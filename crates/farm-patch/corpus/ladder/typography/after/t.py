x = 1
print("hello", 'you', end="")
