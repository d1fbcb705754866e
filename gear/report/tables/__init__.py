"""Tables and the page of claims, from the JSON files of a study."""
