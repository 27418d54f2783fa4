a = 'x'
c = '“x”'
b = 2
