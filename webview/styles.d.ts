// Importing a style sheet is enough to use it: the bundler puts it beside the page's script.
declare module '*.css';
