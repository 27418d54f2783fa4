func f() {
	if x {
		h()
		i()
	}
}
