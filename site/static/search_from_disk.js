// A page on the disk may not read another one: there the search lists what it finds, and asks for no excerpts.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
