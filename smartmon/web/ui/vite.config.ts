import { defineConfig } from "vite";

import { fakeApi } from "./dev/fake.ts";

// A strict content security policy reads this page: no inline script or style, and no data: URL.
export default defineConfig(({ command }) => ({
  base: "./",
  plugins: command === "serve" ? [fakeApi()] : [],
  build: {
    outDir: "../static",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 600,
  },
}));
