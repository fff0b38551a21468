"""The panel of the module "FLAIR Review": a queue of cases, and blinded rating sessions."""
