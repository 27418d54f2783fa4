food()
