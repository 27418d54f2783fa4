a = 'ONE'
b = 2
c = 3
c2 = "new"
d = 4
