# The fallback where CMake is missing; CMakeLists.txt is the build that has every option.
{
  "variables": {
    "napi_inc": "<!(node -p \"require('node-addon-api').include_dir\")",
    "src": "require('./native/sources.json')"
  },
  "target_defaults": {
    "include_dirs": ["<(napi_inc)", "native"],
    "defines": ["NAPI_VERSION=9", "NODE_ADDON_API_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
    "cflags_cc": ["-std=c++20", "-O3", "-fexceptions", "-fvisibility=hidden", "-fPIC", "-fno-math-errno", "-ffp-contract=off"],
    "configurations": { "Release": { "defines": ["NDEBUG"] } }
  },
  "targets": [
    { "target_name": "kernels_avx2", "type": "static_library",
      "sources": ["<!@(node -p \"<(src).avx2.join('\\n')\")"],
      "conditions": [["target_arch=='x64'", {"cflags_cc": ["-mavx2", "-mfma", "-mf16c"]}]] },
    { "target_name": "kernels_avx512", "type": "static_library",
      "sources": ["<!@(node -p \"<(src).avx512.join('\\n')\")"],
      "conditions": [["target_arch=='x64'", {"cflags_cc": ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma", "-mf16c", "-Wno-uninitialized", "-Wno-maybe-uninitialized"]}]] },
    { "target_name": "mask_predict", "type": "loadable_module",
      "dependencies": ["kernels_avx2", "kernels_avx512"],
      "sources": ["<!@(node -p \"<(src).cpu.join('\\n')\")"],
      "conditions": [
        ["OS!='win'", {"sources": ["<!@(node -p \"<(src).posix.join('\\n')\")"]}],
        ["OS=='mac'", {"sources": ["<!@(node -p \"<(src).macos.join('\\n')\")"]}],
        ["OS=='linux'", {"sources": ["<!@(node -p \"<(src).linux.join('\\n')\")"]}],
        ["OS=='win'", {"sources": ["<!@(node -p \"<(src).windows.join('\\n')\")"]}]
      ] }
  ]
}
