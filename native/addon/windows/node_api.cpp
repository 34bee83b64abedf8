// Node-API on Windows. There a library names the program that its imports come from, but each host is another program:
// node.exe, or Code.exe of VS Code. So this file has the import table of Node-API itself, and fills it from whatever
// program loads the addon.
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>

// Code that is compiled against <node_api.h>, which says dllimport, finds the address of a function in a variable named
// `__imp_` followed by the name of the function.
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

/// Refuses to load where the program has no Node-API, or one that is too old; Node then throws. Some builds of Node
/// have Node-API in a library of its own.
extern "C" BOOL WINAPI DllMain(HINSTANCE, DWORD reason, LPVOID) {
  if (reason != DLL_PROCESS_ATTACH) return TRUE;
  return fill_from(GetModuleHandleW(nullptr)) || fill_from(GetModuleHandleW(L"libnode.dll"));
}
