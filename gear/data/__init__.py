"""Image data: preparing folders of images and reading them."""
