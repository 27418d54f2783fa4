import one



if one.done:
    one.go()
