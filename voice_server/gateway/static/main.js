/** Puts the page together: the only module that knows all parts. */

import { api } from "./api.js";
import { Backends } from "./backends.js";
import { mountComposer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { askToken } from "./dialogs.js";
import { mountDownloads } from "./download.js";
import { mountHeader } from "./header.js";
import { mountHistory, openHistory } from "./history.js";
import { loadLanguage, preferredLanguage } from "./i18n.js";
import { mountOptions } from "./options.js";
import { mountPool } from "./pool.js";
import { mountProblems, tell } from "./problems.js";
import { mountScript } from "./script.js";
import { mountStudio } from "./studio.js";
import { mountTiles } from "./tiles.js";
import { mountVoices } from "./voices.js";
import { mountWaveform } from "./waveform.js";

const place = (id) => document.getElementById(id);

await loadLanguage(preferredLanguage());
api.askToken = askToken;
mountProblems(place("problems"));

const backends = new Backends(api);
const conversation = new Conversation({ api });
const voices = mountVoices(place("picker"), { api });
const composer = mountComposer(place("composer"), {
  conversation,
  wanted: () => ({ backend: backends.chosen?.name ?? "", voice: voices.value(), opts: options.values() }),
});
const options = mountOptions(composer.optionsRoot);

mountHeader(place("header"), { backends });
mountWaveform(place("waveform"), conversation);
mountScript(place("script"), conversation);
mountTiles(place("tiles"), conversation);
mountDownloads(place("downloads"), { conversation });
mountStudio(place("studio"), { api, onVoice: voices.select });
mountPool(place("pool"), { api });
openHistory().then((history) => mountHistory(place("history"), { conversation, history }));

conversation.addEventListener("problem", ({ detail }) => tell(detail));
conversation.addEventListener("state", ({ detail }) => detail.state === "idle" || voices.hush());
backends.addEventListener("change", () => {
  options.show(backends.chosen);
  voices.show(backends.chosen);
});
backends.refresh();

/** For developers, in the console of the browser: what the page is made of. Nothing of the page uses it. */
window.voicePage = { api, backends, composer, conversation, options, voices };
