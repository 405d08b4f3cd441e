"""Images with objects: boxes, classes and masks of drawn scenes and of folders in the format of COCO."""
