bar(bar)
x
bar
