version = 1
author = "somebody"
license = "MIT"
url = "none"
