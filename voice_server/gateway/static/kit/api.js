// The gateway's doors as the page sees them: relative to where the page was loaded from, with the token when one is set.

import { recall, remember } from "./settings.js";

const ROOT = new URL("../../", import.meta.url);
const UNAUTHORIZED = 401;
const FITS_SUBPROTOCOL = /^[\w!#$%&'*+.^`|~-]+$/; // what a WebSocket handshake can carry; any other token goes into the query

/** A refusal: `code` is stable, `message` is the server's own words, `field` what was wrong, `status` the HTTP status (0: none). */
export class ApiError extends Error {
  constructor({ code, message, field = null, status = 0 }) {
    super(message);
    Object.assign(this, { code, field, status });
  }
}

let asking = null; // one dialog at a time, however many requests wait for it
let isDeclined = false; // a page that looks at its server every second must not ask every second

export const api = {
  /** Set by the page: resolves with a token the user typed, or null. @type {(told: {wasWrong: boolean}) => Promise<string|null>} */
  askToken: async (_told) => null,

  get token() {
    return recall("token", "");
  },
  set token(value) {
    remember("token", value || undefined);
  },

  /** Who did not want to type a token is asked again from now on. */
  askAgain() {
    isDeclined = false;
  },

  /** @param {string} path @returns {Promise<*>} JSON, or a Blob where the answer is none */
  get: (path) => request(path),
  /** @param {string} path @param {*} body FormData, Blob, or anything JSON holds @param {{type?: string}} [options] content type */
  post: (path, body, options = {}) => request(path, { method: "POST", ...encoded(body, options.type) }),
  /** The same for an answer that is read while it comes. @returns {Promise<ReadableStream<Uint8Array>>} */
  stream: async (path, body, signal) => (await answer(path, { method: "POST", signal, ...encoded(body) })).body,
  /** @param {string} path */
  remove: (path) => request(path, { method: "DELETE" }),
  /** @param {string} path @returns {Promise<Blob>} */
  blob: async (path) => (await answer(path)).blob(),
  /** @param {string} path @returns {WebSocket} */
  socket(path) {
    const url = urlOf(path);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    if (!this.token) return new WebSocket(url);
    if (FITS_SUBPROTOCOL.test(this.token)) return new WebSocket(url, ["token", this.token]);
    url.searchParams.set("api_key", this.token);
    return new WebSocket(url);
  },
  /** Where a door is, for people to copy. @param {string} path */
  url: (path) => urlOf(path).href,
};

const urlOf = (path) => new URL(path.replace(/^\//, ""), ROOT);

async function request(path, init) {
  const response = await answer(path, init);
  const isJson = (response.headers.get("content-type") ?? "").startsWith("application/json");
  return isJson ? response.json() : response.blob();
}

async function answer(path, init = {}) {
  const shown = api.token;
  const response = await send(path, init);
  if (response.status !== UNAUTHORIZED || isDeclined) return checked(response);
  if (api.token === shown && !(await isTold())) return checked(response);
  return answer(path, init); // with the token that somebody typed meanwhile
}

async function isTold() {
  asking ??= api.askToken({ wasWrong: Boolean(api.token) }).finally(() => (asking = null));
  const token = await asking;
  if (token) api.token = token;
  isDeclined = !token;
  return Boolean(token);
}

async function send(path, init) {
  const headers = { accept: "application/json, */*", ...init.headers };
  if (api.token) headers.authorization = `Bearer ${api.token}`;
  try {
    return await fetch(urlOf(path), { ...init, headers });
  } catch (problem) {
    throw new ApiError({ code: "unreachable", message: String(problem.message ?? problem) });
  }
}

async function checked(response) {
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  const error = typeof told.error === "object" && told.error ? told.error : {};
  throw new ApiError({
    code: error.code ?? "http_error",
    message: error.message ?? told.reason ?? `${response.status} ${response.statusText}`,
    field: error.field ?? error.param ?? null,
    status: response.status,
  });
}

function encoded(body, type) {
  if (body instanceof FormData) return { body };
  if (body instanceof Blob || type) return { body, headers: { "content-type": type ?? body.type } };
  return { body: JSON.stringify(body), headers: { "content-type": "application/json" } };
}
