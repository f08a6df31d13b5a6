import { defineConfig } from "vite";

import { fakeApi } from "./dev/fake.ts";

const API = process.env.SMARTMON_API;

// A strict content security policy reads this page: no inline script or style, and no data: URL.
export default defineConfig(({ command }) => ({
  base: "./",
  // `npm run dev` shows made-up runs; with SMARTMON_API=http://127.0.0.1:8081 those of a dashboard that runs there.
  plugins: command === "serve" && !API ? [fakeApi()] : [],
  server: API ? { proxy: { "/api": { target: API, changeOrigin: true }, "/health": { target: API, changeOrigin: true } } } : {},
  build: {
    outDir: "../static",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 600,
  },
}));
