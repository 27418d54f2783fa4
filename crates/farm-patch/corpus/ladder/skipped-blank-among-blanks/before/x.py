import one



if one.ready:
    one.go()
