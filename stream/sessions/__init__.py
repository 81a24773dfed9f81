"""Browser sessions of the Try it tab, as streams that are added and removed at run time."""
