// Puts the page together: the only module that knows all parts.

import { loadLanguage, preferredLanguage } from "./i18n.js";

await loadLanguage(preferredLanguage());
