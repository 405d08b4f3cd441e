"""Views of images for learning without labels: random crops of two sizes, and banks for nearest neighbours."""
