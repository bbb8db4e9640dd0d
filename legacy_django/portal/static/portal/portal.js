// SPDX-License-Identifier: Apache-2.0
// Fills the session parts of pages that are the same for everyone, and counts readings.
"use strict";

const asFragment = { "X-Requested-With": "XMLHttpRequest" };

async function fill(place, url, options) {
  const response = await fetch(url, { credentials: "same-origin", headers: asFragment, ...options });
  if (response.redirected) {
    location.assign(response.url); // logged out meanwhile: the login page
  } else if (response.ok || response.status === 422) {
    place.innerHTML = await response.text();
  }
}

for (const place of document.querySelectorAll("[data-fragment]")) {
  const url = place.dataset.fragment;
  fill(place, url).catch(() => {}); // the page stands without it
  if (place.id === "comentarios") {
    place.addEventListener("submit", (event) => {
      event.preventDefault();
      const body = new FormData(event.target);
      fill(place, url, { method: "POST", body }).catch(() => event.target.submit());
    });
  }
}

const story = document.querySelector("[data-seen]");
if (story) {
  navigator.sendBeacon(story.dataset.seen);
}
