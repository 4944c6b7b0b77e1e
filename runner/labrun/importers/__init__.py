"""Labs that people already have, in the formats of others, to labs of ours.

Each format is one module with an `Importer`. An importer is pure: it gets the files of a folder, and gives labs and
remarks. Nothing of an imported lab runs on the host. Others add theirs as entry points of the group `labrun.importers`.
"""
