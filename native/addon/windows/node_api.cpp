// Node-API on Windows, where a library names the program its imports come from and each host has another: node.exe, VS
// Code's Code.exe. So the import table of Node-API is this file's, filled from whatever program loads the addon.
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>

// `__imp_` is how code compiled against <node_api.h>, which says dllimport, names a function's entry.
extern "C" {
#define HEARTH_NODE_API(name) FARPROC __imp_##name;
#include "node_api_symbols.inc"
#undef HEARTH_NODE_API
}

namespace {

struct Import {
  const char* name;
  FARPROC* entry;
};
constexpr Import kImports[] = {
#define HEARTH_NODE_API(name) {#name, &__imp_##name},
#include "node_api_symbols.inc"
#undef HEARTH_NODE_API
};

bool fill_from(HMODULE host) {
  for (const Import& import : kImports)
    if (!(*import.entry = host ? GetProcAddress(host, import.name) : nullptr)) return false;
  return true;
}

}  // namespace

/// Refuses to load (Node then throws) where the program has no Node-API or too old a one. Some builds of Node have it in a
/// library of their own.
extern "C" BOOL WINAPI DllMain(HINSTANCE, DWORD reason, LPVOID) {
  if (reason != DLL_PROCESS_ATTACH) return TRUE;
  return fill_from(GetModuleHandleW(nullptr)) || fill_from(GetModuleHandleW(L"libnode.dll"));
}
