/**
 * A form sent with its progress, which fetch cannot tell.
 *
 * Promises: an answer, or an ApiError as from api.js.
 */

import { ApiError, api } from "../kit/api.js";

/**
 * @param {string} path
 * @param {FormData} form
 * @param {(part: number) => void} onProgress from 0 to 1; 1 as soon as all has been sent, before the server has judged
 * @returns {Promise<any>} the answer's JSON
 */
export function upload(path, form, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", api.url(path));
    request.responseType = "json";
    request.setRequestHeader("accept", "application/json");
    if (api.token) request.setRequestHeader("authorization", `Bearer ${api.token}`);
    request.upload.onprogress = ({ loaded, total }) => onProgress(total ? loaded / total : 0);
    request.onload = () => (request.status < 300 ? resolve(request.response) : reject(refusal(request)));
    request.onerror = () => reject(new ApiError({ code: "unreachable", message: "the server cannot be reached" }));
    request.send(form);
  });
}

function refusal({ status, statusText, response }) {
  const error = response?.error ?? {};
  return new ApiError({
    code: error.code ?? "http_error",
    message: error.message ?? `${status} ${statusText}`,
    field: error.field ?? error.param ?? null,
    status,
  });
}
