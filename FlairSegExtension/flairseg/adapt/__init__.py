"""Local adaptation of a published model to the reviewed cases of one site, with validation and rollback.

PyTorch (extra ``adapt``) is imported by the modules that train, and by nothing that runs at start-up. Code shared with
the training of published models is here: networks, losses with unknown classes, crops and augmentation.
"""
