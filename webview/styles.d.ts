// Style sheets are imported for their effect: the bundler puts them beside the page's script.
declare module '*.css';
