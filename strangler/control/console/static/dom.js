// SPDX-License-Identifier: Apache-2.0
// The console's whole framework: Preact's elements, written as htm templates. Text is always text:
// nothing here, and nothing that uses it, makes markup out of a string.

import { h, render } from "./vendor/preact.js";
import { useEffect, useLayoutEffect, useRef, useState } from "./vendor/hooks.js";
import htm from "./vendor/htm.js";

export const html = htm.bind(h);
export { render, useEffect, useLayoutEffect, useRef, useState };
