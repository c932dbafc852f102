import { defineConfig } from 'vite';

// One self-contained folder that opens from a file or any web server.
export default defineConfig({
  base: './',
  define: { 'process.env.NODE_ENV': '"production"', global: 'globalThis' },
  esbuild: { jsx: 'automatic' },
  build: { outDir: 'built', chunkSizeWarningLimit: 100_000 },
});
