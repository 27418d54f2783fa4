version = 1
author = "somebody"
url = "none"
