// What the pages of an account do beyond what their HTML does.

import "./elements/pass-key.js";
