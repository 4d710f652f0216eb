/** Puts the page together: the only module that knows all parts. */

import { api } from "./kit/api.js";
import { Backends } from "./kit/backends.js";
import { mountComposer } from "./speak/composer.js";
import { Conversation } from "./sound/conversation.js";
import { askToken } from "./kit/dialogs.js";
import { mountDownloads } from "./speak/download.js";
import { mountHeader } from "./kit/header.js";
import { mountHistory, openHistory } from "./speak/history.js";
import { loadLanguage, preferredLanguage } from "./kit/i18n.js";
import { mountOptions } from "./speak/options.js";
import { mountPool } from "./pool/pool.js";
import { mountProblems, tell } from "./kit/problems.js";
import { mountScript } from "./speak/script.js";
import { mountTabs } from "./kit/tabs.js";
import { mountTalk } from "./live/talk.js";
import { mountStudio } from "./voices/studio.js";
import { mountTiles } from "./speak/tiles.js";
import { mountVoices } from "./voices/voices.js";
import { mountWaveform } from "./speak/waveform.js";

const place = (id) => document.getElementById(id);

await loadLanguage(preferredLanguage());
api.askToken = askToken;
mountProblems(place("problems"));

const backends = new Backends(api);
const conversation = new Conversation({ api });
const voices = mountVoices(place("picker"), { api });
const wanted = () => ({ backend: backends.chosen?.name ?? "", voice: voices.value(), opts: options.values() });
const composer = mountComposer(place("composer"), {
  conversation,
  wanted,
});
const options = mountOptions(composer.optionsRoot);

mountHeader(place("header"), { backends });
mountTabs(place("tabs"), [
  { id: "speak", picture: "wave" },
  { id: "talk", picture: "mic" },
]);
mountWaveform(place("waveform"), conversation);
mountScript(place("script"), conversation);
mountTiles(place("tiles"), conversation);
mountDownloads(place("downloads"), { conversation });
mountStudio(place("studio"), { api, backends, onVoice: voices.select });
const talk = mountTalk(place("talk"), { api, backends, conversation, wanted });
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
window.voicePage = { api, backends, composer, conversation, options, talk, voices };
