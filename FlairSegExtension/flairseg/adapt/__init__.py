"""Local adaptation: a published model learns from the reviewed cases of one site, with proof and a way back.

PyTorch (extra ``adapt``) is imported by the modules that train, and by nothing that runs at start-up. What training of
published models shares with adaptation is here and imported from here: networks, losses with unknown classes, crops and
augmentation.
"""
