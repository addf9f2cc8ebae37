// What is shown stands in the address, behind its #, so that it can be linked to.
"use strict";
const Address = {
  read: () => Object.fromEntries(new URLSearchParams(location.hash.slice(1))),
  write: (entries) => history.replaceState(null, "", `#${new URLSearchParams(entries)}`),
};
