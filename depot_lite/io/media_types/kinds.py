"""The known kinds of files: the media type of each, with its extensions, other names and parents.

`KINDS` has one kind per line; a line that begins with a space continues the one before:

    type/subtype .ext .ext? =alias/type <parent/type ! text runs

- The first kind with an extension is the one that a name alone shows; with ``?`` a kind comes after all others.
- ``<``: files of this kind are also files of the parent (a .docx is a ZIP archive). ``<~name`` is a container without a
  type of its own. Types under ``text/``, and those that end with ``+xml``, ``+json`` or ``+zip``, have the obvious
  parent.
- ``!``: each file of this kind has a signature: bytes without it are never of this kind, whatever the name says.
- ``text``: files of this kind may be text, although the type does not begin with ``text/``.
- ``runs``: a browser or a machine may execute it, so whoever allows a parent does not allow it.

The name is the registered one (https://www.iana.org/assignments/media-types) where there is one, else the usual one.
"""

from __future__ import annotations

from typing import Final

KINDS: Final = """
application/octet-stream .bin .dat .dump .raw? .db? .bak? .old? .part? .crdownload? .backup? .img? .mod? .run? .1?
 .2? .3? .4? .5? .6? .7? .8? .me? =binary/octet-stream =application/binary =application/x-binary
 =application/unknown =application/x-unknown =application/download =application/x-download =application/force-download
 =application/x-force-download

text/plain .txt .text .log .conf .cfg .ini .properties .env .lst .list .def .nfo .diz .readme .in .out .err .asc .doc?
 .service .inf .editorconfig .gitignore .gitattributes .dockerignore .lock .pub? .key? .strings .lic .license .ans
text/csv .csv =text/comma-separated-values =text/x-csv =application/csv =application/x-csv
 =text/x-comma-separated-values
text/tab-separated-values .tsv .tab
text/markdown .md .markdown .mkd .mdown .mdwn .mkdn .rmd .mdx =text/x-markdown =text/x-web-markdown
text/x-rst .rst .rest =text/prs.fallenstein.rst
text/asciidoc .adoc .asciidoc .asc? =text/x-asciidoc
text/org .org =text/x-org
text/vcard .vcf .vcard =text/x-vcard =text/directory
text/calendar .ics .ical .ifb .icalendar .vcs =text/x-vcalendar =application/ics
text/vtt .vtt
application/x-subrip .srt =text/x-subrip =application/x-srt =text/srt text
text/x-ssa .ssa .ass =application/x-ass =application/x-ssa =text/x-ass
text/x-microdvd .sub =text/x-subviewer
application/x-sami .smi .sami text
text/x-lrc .lrc =application/x-lrc
application/ttml+xml .ttml .dfxp .itt
application/x-sbv .sbv text
text/troff .me .t .tr .roff .man .ms .mom .1 .2 .3 .4 .5 .6 .7 .8 =application/x-troff =application/x-troff-man
 =text/x-troff
text/x-tex .tex .ltx .sty .cls .latex =application/x-tex =application/x-latex =text/x-latex
text/x-bibtex .bib =application/x-bibtex
application/x-research-info-systems .ris text
text/x-texinfo .texi .texinfo =application/x-texinfo
text/html .html .htm .shtml .xht? =application/html runs
application/xhtml+xml .xhtml .xht ! runs
text/css .css
text/x-sass .sass
text/x-scss .scss
text/less .less =text/x-less
text/javascript .js .mjs .cjs .es =application/javascript =application/x-javascript =application/ecmascript
 =text/ecmascript runs
text/x-typescript .ts? .tsx .mts? .cts =application/typescript =application/x-typescript =text/typescript
text/jsx .jsx =text/x-jsx
text/x-vue .vue
text/x-svelte .svelte
text/cache-manifest .appcache
application/json .json .map .jsonc .ipynb? =text/json =application/x-json <text/plain text
application/x-ndjson .ndjson .jsonl =application/jsonl =application/json-lines =application/jsonlines
 =application/x-jsonlines =application/x-json-lines <text/plain text
application/json5 .json5 <text/plain text
application/json-seq <application/json text
application/ld+json .jsonld
application/geo+json .geojson .geo.json =application/vnd.geo+json
application/topo+json .topojson
application/manifest+json .webmanifest
application/schema+json
application/vnd.api+json
application/har+json .har
application/x-ipynb+json .ipynb
application/yaml .yaml .yml =text/yaml =text/x-yaml =application/x-yaml =text/vnd.yaml <text/plain text
application/toml .toml =text/toml =text/x-toml =application/x-toml <text/plain text
application/graphql .graphql .gql <text/plain text
application/sql .sql =text/x-sql =application/x-sql <text/plain text
application/x-httpd-php .php .php3 .php4 .php5 .phtml .phps =application/x-php =text/x-php =text/php <text/plain text
 runs
application/xml .xml .xsd .xbl .xsl? .rng =text/xml <text/plain text
application/xml-dtd .dtd .ent .mod? =text/x-dtd =application/xml-external-parsed-entity <text/plain text
application/xslt+xml .xslt .xsl runs
application/relax-ng-compact-syntax .rnc <text/plain text
application/wsdl+xml .wsdl
application/rss+xml .rss =application/x-rss+xml =text/rss
application/atom+xml .atom
text/x-opml+xml .opml =text/x-opml =application/opml+xml <application/xml
application/rdf+xml .rdf .rdfs .owl .xmp =text/rdf
text/turtle .ttl =application/x-turtle
application/n-triples .nt <text/plain text
application/n-quads .nq <text/plain text
application/trig .trig <text/plain text
text/n3 .n3
application/sparql-query .rq .sparql <text/plain text
application/mathml+xml .mathml .mml
application/dash+xml .mpd
application/smil+xml .smil .sml .kino .smi? =application/smil
application/xspf+xml .xspf
application/gpx+xml .gpx =application/gpx =application/x-gpx+xml
application/vnd.google-earth.kml+xml .kml
application/vnd.google-earth.kmz .kmz <application/zip !
application/gml+xml .gml
application/vnd.garmin.tcx+xml .tcx
application/vnd.ant.fit .fit =application/x-fit
application/vnd.openstreetmap.data+xml .osm =application/x-osm+xml
application/vnd.recordare.musicxml+xml .musicxml
application/vnd.recordare.musicxml .mxl <application/zip !
application/xliff+xml .xlf .xliff =application/x-xliff+xml
application/x-tmx+xml .tmx
text/x-gettext-translation .po =application/x-gettext =text/x-po
text/x-gettext-translation-template .pot? =text/x-pot
application/x-gettext-translation .gmo .mo
application/vnd.mozilla.xul+xml .xul runs
application/x-xpinstall .xpi <application/zip ! runs
application/xaml+xml .xaml
application/x-plist .plist <text/plain text =text/x-plist
application/x-apple-binary-plist .plist? =application/x-bplist <application/x-plist
application/x-apple-systemprofiler+xml .spx?
application/vnd.adobe.xfdf .xfdf <application/xml text
application/vnd.adobe.xdp+xml .xdp
application/vnd.fdf .fdf =application/fdf text
application/x-fictionbook+xml .fb2 =application/x-fictionbook
application/x-zip-compressed-fb2 .fbz <application/zip !
application/tei+xml .tei .teicorpus
application/x-dtbncx+xml .ncx
application/oebps-package+xml .opf
application/x-glade .glade <application/xml text
application/x-designer .ui <application/xml text
application/x-collada+xml
application/x-visio+xml
application/x-abiword .abw .zabw <application/xml text
application/x-dia-diagram .dia <application/xml <application/gzip text
application/vnd.jgraph.mxfile .drawio .dio <application/xml text
application/x-gnucash .gnucash .gnc .xac <application/xml <application/gzip text
application/x-gnumeric .gnumeric <application/xml <application/gzip text
application/vnd.scribus .sla .scd =application/x-sla <application/xml text
application/vnd.sun.xml.base+xml
application/x-godot-project <text/plain text
application/pls+xml .pls?
application/ssml+xml .ssml
application/srgs+xml .grxml
application/voicexml+xml .vxml
application/xop+xml .xop
application/metalink4+xml .meta4
application/metalink+xml .metalink

text/x-csrc .c .h? =text/x-c
text/x-chdr .h
text/x-c++src .cpp .cc .cxx .c++ .cp .ino
text/x-c++hdr .hpp .hh .hxx .h++ .inl .tpp
text/x-objcsrc .m
text/x-objc++src .mm
text/x-csharp .cs
text/x-fsharp .fs .fsx .fsi
text/x-vb .vb .bas .frm? =text/x-basic
text/x-java .java =text/x-java-source
text/x-kotlin .kt .kts
text/x-scala .scala .sc
text/x-groovy .groovy .gradle .gvy .gy .gsh =text/x-gradle
text/x-clojure .clj .cljs .cljc .edn
text/x-python .py .pyw .pyi .pyx .wsgi =application/x-python =text/x-script.python =text/x-python3 <text/plain
application/x-python-code .pyc .pyo =application/x-python-bytecode =application/x-bytecode.python runs
application/x-ruby .rb .rbw .gemspec .rake .ru =text/x-ruby <text/plain text
application/x-perl .pl .pm .pod .t? .perl =text/x-perl <text/plain text
application/x-sh .sh =text/x-sh =text/x-shellscript =application/x-shellscript <text/plain text runs
application/x-csh .csh .tcsh =text/x-csh <text/plain text runs
application/x-bash .bash .zsh .ksh .fish <text/plain text runs
application/x-powershell .ps1 .psm1 .psd1 =text/x-powershell <text/plain text runs
application/x-bat .bat .cmd .btm =application/bat =application/x-msdos-batch =text/x-msdos-batch =application/x-batch
 <text/plain text runs
text/vbscript .vbs .vbe =text/vbs =application/x-vbs runs
application/x-windows-script .wsf .wsh .hta <text/plain text runs
application/x-tcl .tcl .tk =text/x-tcl =text/tcl <text/plain text
text/x-lua .lua =application/x-lua
text/x-go .go
text/rust .rs =text/x-rust
text/x-swift .swift
text/x-dart .dart =application/vnd.dart =application/dart
text/x-r .r =text/x-r-source
text/x-julia .jl =application/julia
text/x-matlab .m? =text/x-octave
text/x-haskell .hs .lhs =text/x-literate-haskell
text/x-elixir .ex .exs
text/x-erlang .erl .hrl
text/x-ocaml .ml .mli
text/x-lisp .lisp .lsp .cl .el .scm .ss =text/x-common-lisp =text/x-emacs-lisp =text/x-scheme
text/x-prolog .pro?
text/x-pascal .pas .p .pp .dpr .lpr
text/x-fortran .f .for .f77 .f90 .f95 .f03 .ftn
text/x-cobol .cob .cbl .cpy
text/x-adasrc .adb .ads =text/x-ada
text/x-asm .asm .s .nasm
text/x-vhdl .vhd? .vhdl
text/x-verilog .v .vh =text/x-svsrc
text/x-d .d .di =text/x-dsrc
text/x-nim .nim
text/x-zig .zig
text/x-crystal .cr
text/x-coffeescript .coffee .litcoffee =application/vnd.coffeescript
text/x-elm .elm
text/x-cuda .cu .cuh
text/x-opencl .cl? .ocl
text/x-glsl .glsl .vert .frag .comp .geom =x-shader/x-vertex =x-shader/x-fragment
text/x-makefile .mk .mak .make
text/x-cmake .cmake
text/x-dockerfile .dockerfile
text/x-meson .meson
text/x-nix .nix
text/x-hcl .tf .tfvars .hcl =application/hcl =application/x-terraform
text/x-protobuf .proto
text/x-thrift .thrift
text/x-awk .awk =application/x-awk
text/x-sed .sed
text/x-vim .vim
text/x-systemverilog .sv .svh
text/x-solidity .sol
text/x-twig .twig
text/x-jinja .j2? .jinja .jinja2
text/x-handlebars-template .hbs .handlebars
text/x-pug .pug .jade
text/x-haml .haml
text/x-erb .erb
text/x-jsp .jsp .jspx =application/x-jsp
text/x-aspx .aspx .asp .ascx .cshtml
text/x-coldfusion .cfm .cfc
text/x-actionscript .as
text/x-haxe .hx
text/x-diff .diff .patch =text/x-patch
text/x-component .htc runs
text/x-setext .etx
text/x-uuencode .uu .uue
text/x-yenc .yenc
text/x-idl .idl
text/x-modelica .mo?
text/x-gherkin .feature
text/vnd.graphviz .gv .dot? =text/x-graphviz
text/x-plantuml .puml .plantuml
text/vnd.mermaid .mmd .mermaid
text/vnd.trolltech.linguist .ts? =application/x-linguist
text/vnd.sun.j2me.app-descriptor .jad
application/x-java-jnlp-file .jnlp <application/xml text runs
application/x-java-keystore .jks .jceks .ks .keystore
application/java-vm .class =application/java =application/x-java =application/x-java-class =application/java-byte-code
 runs
application/java-archive .jar .war .ear =application/x-java-archive =application/x-jar <application/zip ! runs
application/java-serialized-object .ser
application/vnd.android.package-archive .apk .apks .xapk <application/java-archive runs !
application/vnd.android.dex .dex runs
application/wasm .wasm runs
text/x-wat .wat

application/pdf .pdf =application/x-pdf =application/acrobat =applications/vnd.pdf =text/pdf !
application/illustrator .ai .ait =application/vnd.adobe.illustrator <application/pdf <application/postscript text
application/postscript .ps .eps .epsf .epsi .eps2 .eps3 =application/eps =application/x-eps =image/eps =image/x-eps
 text
application/rtf .rtf =text/rtf =text/richtext =application/x-rtf ! text
application/msword .doc .dot .wiz? =application/vnd.msword =application/x-msword =application/doc
 <application/x-ole-storage
application/vnd.ms-excel .xls .xlt .xla .xlm .xlc .xlw .xll =application/msexcel =application/x-msexcel
 =application/x-excel =application/excel =application/x-ms-excel =application/xls <application/x-ole-storage
application/vnd.ms-powerpoint .ppt .pps .pot .ppa =application/mspowerpoint =application/powerpoint
 =application/x-mspowerpoint <application/x-ole-storage
application/vnd.ms-outlook .msg .oft <application/x-ole-storage
application/vnd.ms-project .mpp .mpt =application/msproj =application/x-msproject <application/x-ole-storage
application/vnd.visio .vsd .vst .vss .vsw =application/x-visio =application/vnd.ms-visio <application/x-ole-storage
application/x-mspublisher .pub =application/vnd.ms-publisher =application/mspublisher <application/x-ole-storage
application/vnd.ms-works .wps .wks .wdb .wcm .xlr <application/x-ole-storage
application/x-msi .msi .msp .mst =application/x-windows-installer =application/x-ms-installer
 <application/x-ole-storage runs
application/x-hwp .hwp =application/vnd.hancom.hwp =application/vnd.haansoft-hwp =application/haansofthwp
 <application/x-ole-storage
application/hwp+zip .hwpx =application/vnd.hancom.hwpx =application/vnd.haansoft-hwpx =application/haansofthwpx !
application/x-ole-storage .ole =application/x-msoffice =application/vnd.ms-office =application/x-cfb
 =application/cdfv2 !
application/x-thumbs-db <application/x-ole-storage
application/vnd.ms-wpl .wpl <application/smil+xml text
application/x-msmoney .mny
application/x-msaccess .mdb .accdb .accde =application/msaccess.accdb =application/vnd.ms-access.accdb
 =application/vnd.ms-access =application/msaccess =application/mdb =application/x-mdb
application/vnd.ms-htmlhelp .chm =application/x-chm =application/x-ms-htmlhelp
application/winhlp .hlp =application/x-winhelp =application/x-winhlp
application/vnd.ms-officetheme .thmx =application/vnd.openxmlformats-officedocument.theme <application/zip !
application/onenote .one .onetoc .onetoc2 .onetmp .onepkg =application/msonenote =application/vnd.ms-onenote
application/vnd.ms-xpsdocument .xps? <application/zip !
application/oxps .xps .oxps <application/zip !
application/vnd.openxmlformats-officedocument.wordprocessingml.document .docx <application/zip !
application/vnd.openxmlformats-officedocument.wordprocessingml.template .dotx
 <application/vnd.openxmlformats-officedocument.wordprocessingml.document !
application/vnd.ms-word.document.macroenabled.12 .docm
 <application/vnd.openxmlformats-officedocument.wordprocessingml.document ! runs
application/vnd.ms-word.template.macroenabled.12 .dotm
 <application/vnd.openxmlformats-officedocument.wordprocessingml.template ! runs
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet .xlsx <application/zip !
application/vnd.openxmlformats-officedocument.spreadsheetml.template .xltx
 <application/vnd.openxmlformats-officedocument.spreadsheetml.sheet !
application/vnd.ms-excel.sheet.macroenabled.12 .xlsm
 <application/vnd.openxmlformats-officedocument.spreadsheetml.sheet ! runs
application/vnd.ms-excel.template.macroenabled.12 .xltm
 <application/vnd.openxmlformats-officedocument.spreadsheetml.template ! runs
application/vnd.ms-excel.sheet.binary.macroenabled.12 .xlsb
 <application/vnd.openxmlformats-officedocument.spreadsheetml.sheet ! runs
application/vnd.ms-excel.addin.macroenabled.12 .xlam
 <application/vnd.openxmlformats-officedocument.spreadsheetml.sheet ! runs
application/vnd.openxmlformats-officedocument.presentationml.presentation .pptx <application/zip !
application/vnd.openxmlformats-officedocument.presentationml.slideshow .ppsx
 <application/vnd.openxmlformats-officedocument.presentationml.presentation !
application/vnd.openxmlformats-officedocument.presentationml.template .potx
 <application/vnd.openxmlformats-officedocument.presentationml.presentation !
application/vnd.openxmlformats-officedocument.presentationml.slide .sldx
 <application/vnd.openxmlformats-officedocument.presentationml.presentation !
application/vnd.ms-powerpoint.presentation.macroenabled.12 .pptm
 <application/vnd.openxmlformats-officedocument.presentationml.presentation ! runs
application/vnd.ms-powerpoint.slideshow.macroenabled.12 .ppsm
 <application/vnd.openxmlformats-officedocument.presentationml.slideshow ! runs
application/vnd.ms-powerpoint.template.macroenabled.12 .potm
 <application/vnd.openxmlformats-officedocument.presentationml.template ! runs
application/vnd.ms-powerpoint.slide.macroenabled.12 .sldm
 <application/vnd.openxmlformats-officedocument.presentationml.slide ! runs
application/vnd.ms-powerpoint.addin.macroenabled.12 .ppam
 <application/vnd.openxmlformats-officedocument.presentationml.presentation ! runs
application/vnd.ms-visio.drawing.main+xml .vsdx =application/vnd.ms-visio.drawing =application/vnd.visio2013
 =application/vnd.visio2013+xml <application/zip !
application/vnd.ms-visio.drawing.macroenabled.main+xml .vsdm =application/vnd.ms-visio.drawing.macroenabled
 <application/zip ! runs
application/vnd.ms-visio.template.main+xml .vstx =application/vnd.ms-visio.template <application/zip !
application/vnd.ms-visio.template.macroenabled.main+xml .vstm =application/vnd.ms-visio.template.macroenabled
 <application/zip ! runs
application/vnd.ms-visio.stencil.main+xml .vssx =application/vnd.ms-visio.stencil <application/zip !
application/vnd.ms-visio.stencil.macroenabled.main+xml .vssm =application/vnd.ms-visio.stencil.macroenabled
 <application/zip ! runs
application/vnd.oasis.opendocument.text .odt =application/x-vnd.oasis.opendocument.text <application/zip !
application/vnd.oasis.opendocument.text-template .ott <application/zip !
application/vnd.oasis.opendocument.text-master .odm <application/zip !
application/vnd.oasis.opendocument.text-master-template .otm <application/zip !
application/vnd.oasis.opendocument.text-web .oth <application/zip !
application/vnd.oasis.opendocument.spreadsheet .ods <application/zip !
application/vnd.oasis.opendocument.spreadsheet-template .ots <application/zip !
application/vnd.oasis.opendocument.presentation .odp <application/zip !
application/vnd.oasis.opendocument.presentation-template .otp <application/zip !
application/vnd.oasis.opendocument.graphics .odg <application/zip !
application/vnd.oasis.opendocument.graphics-template .otg <application/zip !
application/vnd.oasis.opendocument.chart .odc <application/zip !
application/vnd.oasis.opendocument.chart-template .otc? <application/zip !
application/vnd.oasis.opendocument.formula .odf <application/zip !
application/vnd.oasis.opendocument.formula-template .otf? <application/zip !
application/vnd.oasis.opendocument.image .odi <application/zip !
application/vnd.oasis.opendocument.image-template .oti <application/zip !
application/vnd.oasis.opendocument.base .odb =application/vnd.oasis.opendocument.database <application/zip !
application/vnd.oasis.opendocument.text-flat-xml .fodt <application/xml text
application/vnd.oasis.opendocument.spreadsheet-flat-xml .fods <application/xml text
application/vnd.oasis.opendocument.presentation-flat-xml .fodp <application/xml text
application/vnd.oasis.opendocument.graphics-flat-xml .fodg <application/xml text
application/vnd.openofficeorg.extension .oxt <application/zip !
application/vnd.sun.xml.writer .sxw <application/zip !
application/vnd.sun.xml.writer.template .stw <application/zip !
application/vnd.sun.xml.writer.global .sxg <application/zip !
application/vnd.sun.xml.calc .sxc <application/zip !
application/vnd.sun.xml.calc.template .stc <application/zip !
application/vnd.sun.xml.impress .sxi <application/zip !
application/vnd.sun.xml.impress.template .sti <application/zip !
application/vnd.sun.xml.draw .sxd <application/zip !
application/vnd.sun.xml.draw.template .std <application/zip !
application/vnd.sun.xml.math .sxm <application/zip !
application/vnd.stardivision.writer .sdw .vor <application/x-ole-storage
application/vnd.stardivision.calc .sdc <application/x-ole-storage
application/vnd.stardivision.impress .sdd <application/x-ole-storage
application/vnd.stardivision.draw .sda <application/x-ole-storage
application/vnd.apple.keynote .key .kth =application/x-iwork-keynote-sffkey <application/zip !
application/vnd.apple.pages .pages .template? =application/x-iwork-pages-sffpages <application/zip !
application/vnd.apple.numbers .numbers =application/x-iwork-numbers-sffnumbers <application/zip !
application/vnd.wordperfect .wpd .wp .wp5 .wp6 .wpt =application/wordperfect =application/x-wordperfect
 =application/wordperfect5.1
application/vnd.lotus-1-2-3 .123 .wk1 .wk3 .wk4 =application/x-123 =application/lotus123
application/vnd.lotus-wordpro .lwp
application/vnd.lotus-notes .nsf
application/x-quattropro .wb1 .wb2 .wb3 .qpw =application/x-quattro-pro
application/x-mswrite .wri =application/mswrite
application/x-indesign .indd .indt
application/vnd.adobe.indesign-idml-package .idml <application/zip !
application/vnd.quark.quarkxpress .qxd .qxt .qwd .qxp
application/vnd.framemaker .fm .frame .maker .mif =application/x-mif =application/vnd.mif text
application/x-pagemaker .pmd .pm6 .p65 =application/vnd.pagemaker
application/x-lyx .lyx text
application/x-texmacs .tm text
application/x-dvi .dvi
application/x-kword .kwd .kwt =application/vnd.kde.kword <application/zip <application/gzip
application/x-kspread .ksp =application/vnd.kde.kspread <application/zip <application/gzip
application/x-kpresenter .kpr .kpt =application/vnd.kde.kpresenter <application/zip <application/gzip
application/vnd.xmind.workbook .xmind =application/x-xmind <application/zip !
application/x-freemind .mm? <application/xml text
application/vnd.sketch .sketch =application/sketch =image/vnd.sketch <application/zip !
application/vnd.figma .fig? =application/x-figma
application/x-xfig .fig =image/x-xfig text
application/vnd.adobe.xd .xd <application/zip !
application/vnd.balsamiq.bmpr .bmpr
application/x-sib .sib
application/vnd.cups-ppd .ppd text
application/vnd.hp-pcl .pcl =application/x-pcl text
application/vnd.hp-hpgl .hpgl .hpg .plt? =application/vnd.hp-hpgl2 text

application/epub+zip .epub !
application/x-mobipocket-ebook .mobi .prc <application/vnd.palm
application/vnd.amazon.mobi8-ebook .azw3 .kfx .azw .azw4 =application/vnd.amazon.ebook =application/x-mobi8-ebook
 <application/x-mobipocket-ebook
application/vnd.palm .pdb .pqa .oprc =application/x-palm-database =application/x-aportisdoc =application/palmos
application/x-ms-reader .lit
application/x-sony-bbeb .lrf .lrx
application/x-ibooks+zip .ibooks
application/x-plucker =application/prs.plucker <application/vnd.palm
application/vnd.comicbook+zip .cbz =application/x-cbz !
application/vnd.comicbook-rar .cbr =application/x-cbr <application/vnd.rar
application/x-cb7 .cb7 <application/x-7z-compressed
application/x-cbt .cbt <application/x-tar
image/vnd.djvu .djvu .djv =image/x-djvu =image/djvu =image/vnd.djvu+multipage =image/x.djvu !

message/rfc822 .eml .mht .mhtml .mime .nws? =multipart/related =application/x-mimearchive =message/rfc2822 <text/plain
 text runs
application/mbox .mbox .mbx =application/x-mbox text
application/vnd.ms-outlook-pst .pst .ost =application/x-pst
application/vnd.ms-tnef .tnef .tnf =application/ms-tnef =application/x-tnef
application/x-emlx .emlx text
message/news .nws
message/delivery-status
multipart/form-data
application/x-dbx .dbx =application/vnd.ms-outlookexpress
text/x-ldif .ldif .ldi =application/ldif

application/zip .zip .zipx =application/x-zip =application/x-zip-compressed =application/zip-compressed
 =multipart/x-zip !
application/gzip .gz .tgz .taz .gzip .svgz =image/svg+xml-compressed =application/x-gzip =application/gzip-compressed
 =application/x-gunzip =application/x-compressed-tar =application/x-gtar-compressed =application/x-tgz !
application/x-bzip2 .bz2 .tbz2 .tbz .tb2 =application/bzip2 =application/x-bz2 =application/x-bzip-compressed-tar
 =application/x-bzip2-compressed-tar
application/x-bzip .bz
application/x-bzip3 .bz3
application/x-xz .xz .txz =application/xz =application/x-xz-compressed-tar
application/x-lzma .lzma .tlz =application/lzma =application/x-lzma-compressed-tar
application/x-lz4 .lz4 =application/lz4 =application/x-lz4-compressed-tar
application/x-lzip .lz =application/lzip =application/x-lzip-compressed-tar
application/x-lzop .lzo .tzo =application/x-lzop-compressed-tar
application/zstd .zst .tzst .zstd =application/x-zstd =application/x-zstd-compressed-tar
application/x-brotli .br =application/brotli
application/x-snappy-framed .sz .snappy =application/x-snappy
application/x-compress .z =application/x-tarz =application/compress
application/x-7z-compressed .7z =application/7z =application/x-7zip !
application/vnd.rar .rar =application/x-rar =application/x-rar-compressed =application/rar !
application/x-tar .tar .gtar? =application/tar =application/x-gtar
application/x-cpio .cpio =application/x-cpio-compressed =application/x-sv4cpio =application/x-bcpio
application/x-shar .shar text runs
application/x-archive .a .ar =application/x-unix-archive
application/vnd.debian.binary-package .deb .udeb .ddeb =application/x-deb =application/x-debian-package
 =application/x-dpkg =application/deb <application/x-archive
application/x-rpm .rpm =application/x-redhat-package-manager =application/x-source-rpm .src.rpm
application/vnd.flatpak .flatpak =application/x-flatpak
application/vnd.flatpak.ref .flatpakref text
application/vnd.snap .snap <application/vnd.squashfs
application/vnd.squashfs .squashfs .sqfs .sfs =application/x-squashfs
application/vnd.appimage .appimage =application/x-appimage =application/x-iso9660-appimage <application/x-executable
 runs
application/vnd.ms-cab-compressed .cab =application/x-cab =application/cab =application/x-cab-compressed
application/x-lzh-compressed .lzh .lha =application/x-lha =application/x-lzh =application/x-lharc
application/x-arj .arj =application/arj =application/x-arj-compressed
application/x-ace-compressed .ace =application/x-ace
application/x-arc .arc? =application/x-freearc =application/x-arc-compressed
application/x-freearc-archive .arc
application/x-zoo .zoo
application/x-stuffit .sit =application/x-sit =application/stuffit
application/x-stuffitx .sitx
application/mac-binhex40 .hqx =application/binhex =application/mac-binhex =application/x-binhex40 text
application/x-macbinary .macbin
application/applefile
application/x-alz-compressed .alz =application/x-alz
application/x-egg .egg?
application/x-lrzip .lrz
application/x-rzip .rz
application/x-xar .xar .pkg .xip =application/vnd.apple.installer+pkg =application/vnd.apple.pkg
application/x-dar .dar
application/x-par2 .par2
application/vnd.tcpdump.pcap .pcap .cap .dmp? =application/x-pcap =application/pcap
application/x-pcapng .pcapng .ntar =application/pcapng =application/vnd.tcpdump.pcapng
application/x-bittorrent .torrent =application/x-torrent text
application/x-nzb .nzb <application/xml text
application/x-crx .crx =application/x-chrome-extension =application/x-google-chrome-extension runs
application/x-ios-app .ipa <application/zip !
application/appx .appx =application/vnd.ms-appx <application/zip ! runs
application/msix .msix <application/appx ! runs
application/appxbundle .appxbundle =application/vnd.ms-appx.bundle <application/zip ! runs
application/msixbundle .msixbundle <application/appxbundle ! runs
application/vnd.nuget.package .nupkg .snupkg =application/x-nupkg <application/zip !
application/x-wheel+zip .whl =application/x-python-wheel
application/x-python-egg .egg <application/zip !
application/x-ruby-gem .gem <application/x-tar
application/x-vsix .vsix =application/vsix <application/zip runs !

application/x-iso9660-image .iso .iso9660 =application/vnd.efi.iso =application/x-cd-image =application/x-iso-image
 =application/iso-image
application/x-raw-disk-image =application/vnd.efi.img =application/x-raw-floppy-disk-image .img .ima .vfd
application/x-apple-diskimage .dmg .smi? .sparseimage .sparsebundle =application/x-diskcopy
application/x-virtualbox-vdi .vdi =application/x-vdi-disk
application/x-vhd-disk .vhd .vpc =application/x-virtualbox-vhd =application/x-vhd
application/x-vhdx-disk .vhdx =application/x-virtualbox-vhdx =application/x-vhdx
application/x-vmdk-disk .vmdk =application/x-virtualbox-vmdk =application/x-vmdk
application/x-qemu-disk .qcow2 .qcow .qed =application/x-qed-disk =application/x-qcow =application/x-qcow2
 =application/x-qemu-qcow2-disk
application/x-virtualbox-ova .ova <application/x-tar =application/ovf
application/x-virtualbox-ovf .ovf <application/xml text
application/x-virtualbox-vbox .vbox <application/xml text
application/x-ms-wim .wim .swm .esd
application/x-nrg .nrg =application/x-nero-image
application/x-mdf .mdf
application/x-mds .mds
application/x-ccd .ccd text
application/x-cue .cue =application/x-cdrdao-toc text
application/x-desktop .desktop text
text/x-ms-regedit .reg
application/x-cso .cso =application/x-compressed-iso
application/x-ext-image .ext2 .ext3 .ext4

application/vnd.microsoft.portable-executable .exe .dll .sys .scr .ocx .cpl .efi .drv .mui .com?
 =application/x-dosexec =application/x-msdownload =application/x-msdos-program =application/x-ms-dos-executable
 =application/x-exe =application/exe =application/x-winexe =application/dos-exe =application/x-ms-ne-executable
 =application/x-msdos <~mz runs
application/x-dos-executable .com =application/x-dos-com-executable <~mz runs
application/x-executable .elf .axf .run? =application/x-elf =application/x-pie-executable <~elf runs
application/x-sharedlib .so .dylib? =application/x-sharedlibrary <~elf runs
application/x-object .o .ko .obj? <~elf
application/x-coredump .core =application/x-core <~elf
application/x-mach-binary .macho .dylib .bundle .mach =application/x-mach-o =application/x-mach-o-executable
 =application/mac-universal runs
application/x-coff .coff .obj? .lib? =application/x-coff-object
application/x-llvm .bc
application/x-ms-shortcut .lnk =application/x-win-lnk
application/x-ms-pdb .pdb?
application/x-ms-dmp .dmp .mdmp =application/vnd.ms-minidump
application/vnd.ms-evtx .evtx =application/x-ms-evtx
application/x-ms-registry .hiv .regtrans-ms
application/x-nes-rom .nes .nez .unf .unif
application/x-gameboy-rom .gb .sgb
application/x-gameboy-color-rom .gbc .cgb
application/x-gba-rom .gba .agb
application/x-nintendo-ds-rom .nds
application/x-nintendo-3ds-rom .3ds? .cci
application/x-n64-rom .n64 .z64 .v64
application/x-snes-rom .sfc .smc
application/x-genesis-rom .gen .smd .md?
application/x-gamecube-rom .gcm
application/x-wii-rom .wbfs
application/x-atari-2600-rom .a26
application/x-doom-wad .wad
application/x-intel-hex .hex .ihex .ihx text
application/x-srecord .srec .s19 .mot text
application/x-uf2 .uf2
application/vnd.lua-bytecode .luac =application/x-lua-bytecode
application/x-godot-pck .pck

application/vnd.sqlite3 .sqlite .sqlite3 .db .db3 .s3db .sl3 =application/x-sqlite3 =application/x-sqlite !
application/geopackage+sqlite3 .gpkg <application/vnd.sqlite3 !
application/vnd.mbtiles .mbtiles =application/x-mbtiles <application/vnd.sqlite3 !
application/x-sqlite2 .sqlite2
application/vnd.dbf .dbf =application/dbase =application/dbf =application/x-dbase =application/x-dbf
application/vnd.filemaker .fmp12 .fp7 .fp5 =application/x-filemaker
application/x-ms-sdf .sdf?
application/x-berkeley-db .bdb =application/x-dbm
application/x-gdbm .gdbm
application/x-leveldb .ldb
application/x-redis-rdb .rdb
application/vnd.duckdb .duckdb .ddb? =application/x-duckdb
application/x-frm .frm =application/x-mysql-table-definition
application/x-mysql-misam-data .myd
application/x-mysql-misam-compressed-index .myi
application/x-pgdump .pgdump .backup =application/x-postgresql-dump text

application/vnd.apache.parquet .parquet .pq =application/x-parquet =application/parquet
application/vnd.apache.avro .avro =application/avro =avro/binary =application/x-avro
application/vnd.apache.orc .orc =application/x-orc =application/orc
application/vnd.apache.arrow.file .arrow .feather =application/x-arrow =application/vnd.apache.arrow
application/vnd.apache.arrow.stream .arrows
application/vnd.apache.thrift.binary
application/x-feather .fea .feather?
application/x-npy .npy =application/x-numpy =application/x-numpy-data
application/x-npz .npz =application/x-numpy-zip <application/zip !
application/x-hdf5 .h5 .hdf5 .he5 .hdf =application/vnd.hdfgroup.hdf5
application/x-hdf .hdf4 .h4 .he4 .hdf? =application/vnd.hdfgroup.hdf4
application/x-netcdf .nc .cdf .nc4 =application/netcdf <application/x-hdf5
application/x-nasa-cdf .cdf? =application/x-cdf
application/fits .fits .fts .fit? =image/fits =image/x-fits text
application/x-matlab-data .mat .fig? text =application/matlab-mat =application/x-matlab =application/x-matlab-mat
application/x-grib .grb .grib .grb2 .grib2 =application/wmo-grib =application/grib
application/x-bufr .bufr .bfr =application/bufr
application/x-spss-sav .sav .zsav =application/x-spss-savefile =application/spss
application/x-spss-por .por text
application/x-stata-dta .dta =application/x-stata =application/vnd.stata
application/x-sas-data .sas7bdat =application/vnd.sas
application/x-sas-xport .xpt .xport
application/x-sas .sas text
application/x-r-data .rdata .rda .rds =application/x-rdata =application/x-r-rds <application/gzip
 <application/x-bzip2 <application/x-xz
application/x-python-pickle .pkl .pickle =application/pickle =application/x-pickle runs
application/x-pytorch .pt .pth .ckpt? <application/zip !
application/vnd.safetensors .safetensors =application/x-safetensors
application/onnx .onnx =application/x-onnx
application/x-tflite .tflite =application/vnd.tensorflow.lite
application/x-gguf .gguf =application/vnd.gguf
application/x-tfrecord .tfrecord .tfrecords
application/x-keras .keras <application/zip !
application/x-weka-arff .arff text
application/x-root .root
application/vnd.msgpack .msgpack .mpk =application/msgpack =application/x-msgpack
application/cbor .cbor
application/bson .bson =application/x-bson
application/protobuf .pb =application/x-protobuf =application/vnd.google.protobuf
application/ubjson .ubj
application/mathematica .nb .ma .mb =application/vnd.wolfram.mathematica =application/x-mathematica text
application/vnd.wolfram.cdf .cdf? text
application/vnd.wolfram.player .nbp text
application/x-maple .mw .mws text
application/x-mathcad .mcd .xmcd
application/x-ipe .ipe text
application/x-gnuplot .gp .gnuplot .plt text
application/dicom .dcm .dicom .dic? =image/dicom =application/x-dicom
application/x-nifti .nii =image/x-nifti =image/nifti
application/x-nrrd .nrrd .nhdr =image/x-nrrd text
application/x-minc .mnc <application/x-hdf5 <application/x-netcdf
application/x-edf .edf =application/edf
application/vnd.shp .shp =x-gis/x-shapefile =application/x-shapefile =application/x-esri-shape
application/vnd.shx .shx <application/vnd.shp
application/x-qgis-project .qgs <application/xml text
application/x-qgz .qgz <application/zip !
application/vnd.las .las =application/vnd.las+bin
application/vnd.laszip .laz <application/vnd.las
application/x-e57 .e57 =model/e57
application/x-pcd .pcd text
application/x-flatgeobuf .fgb =application/flatgeobuf
application/vnd.pmtiles .pmtiles
application/vnd.mapbox-vector-tile .mvt .pbf? =application/x-protobuf-tile
application/vnd.openstreetmap.data+pbf .pbf .osm.pbf =application/x-osm+pbf
application/x-ecw .ecw
application/x-mrsid .sid? =image/x-mrsid-image =image/x-mrsid
application/vnd.esri.filegdb .gdb
chemical/x-pdb .pdb? .ent? text
chemical/x-mdl-molfile .mol text
chemical/x-mdl-sdfile .sdf .sd text
chemical/x-mdl-rxnfile .rxn text
chemical/x-mol2 .mol2 text
chemical/x-xyz .xyz text
chemical/x-cif .cif text
chemical/x-mmcif .mcif .mmcif text
chemical/x-cml .cml <application/xml text
chemical/x-daylight-smiles .smiles .smi? text
chemical/x-cdx .cdx =application/x-chemdraw
chemical/x-gamess-input .inp text
chemical/x-gaussian-input .gjf .com? text
chemical/x-jcamp-dx .jdx .dx .jcm text
chemical/x-embl-dl-nucleotide .emb .embl text
chemical/x-genbank .gb? .gbk .genbank text
text/x-fasta .fasta .fa .fna .ffn .faa .frn =application/x-fasta
text/x-fastq .fastq .fq =application/x-fastq
text/x-sam .sam =application/x-sam
application/x-bam .bam <application/gzip
application/x-cram .cram
text/x-vcf .vcf? =text/vcf
application/x-bcf .bcf <application/gzip
text/x-bed .bed
text/x-gff .gff .gff3 .gtf =text/gff3
application/x-newick .nwk .newick .tree text
application/x-nexus .nex .nxs text
application/x-sbml+xml .sbml =application/sbml+xml
application/x-mzml+xml .mzml

application/pgp-signature .sig .asc? .gpg? .pgp? text
application/pgp-keys .asc? .pgpkey .pkr .skr .gpg? .pgp? =application/pgp text
application/pgp-encrypted .asc? .pgp .gpg text
application/x-gnupg-keyring .kbx .keyring
application/x-x509-ca-cert .crt .der .cer? =application/x-x509-cert text
application/pkix-cert .cer .crt? text
application/pem-certificate-chain .pem =application/x-pem =application/x-pem-file text
application/x-x509-user-cert
application/pkcs10 .p10 .csr =application/x-pkcs10 text
application/pkcs8 .p8 =application/pkcs8-encrypted =application/x-pkcs8 text
application/pkcs12 .p12 .pfx =application/x-pkcs12
application/pkcs7-mime .p7m .p7c =application/x-pkcs7-mime text
application/pkcs7-signature .p7s =application/x-pkcs7-signature text
application/x-pkcs7-certificates .p7b .spc text
application/x-pkcs7-certreqresp .p7r
application/pkix-crl .crl =application/x-pkcs7-crl text
application/pkix-pkipath .pkipath
application/timestamp-query .tsq
application/timestamp-reply .tsr
application/x-ssh-key .ppk text
application/x-age-encryption .age =application/vnd.age text
application/x-keepass2 .kdbx =application/x-keepassx
application/x-keepass .kdb
application/jose .jose text
application/jwt .jwt text

font/ttf .ttf =application/x-font-ttf =application/font-ttf =font/truetype =application/x-font-truetype <~sfnt
font/otf .otf =application/x-font-otf =application/vnd.ms-opentype =font/opentype =application/x-font-opentype
 =application/font-otf <~sfnt
font/collection .ttc .otc =application/x-font-ttc =application/x-font-truetype-collection =font/ttc <~sfnt
font/woff .woff =application/font-woff =application/x-font-woff <~sfnt !
font/woff2 .woff2 =application/font-woff2 <~sfnt !
font/sfnt =application/font-sfnt <~sfnt
application/vnd.ms-fontobject .eot
application/x-font-type1 .pfa .pfb .pfm .t1 =application/x-font =font/type1 text
application/x-font-afm .afm text
application/x-font-bdf .bdf text
application/x-font-pcf .pcf
application/x-font-snf .snf
application/x-font-linux-psf .psf =application/x-linux-psf
application/x-font-dos .fon =application/x-font-fon <~mz
application/x-font-fnt .fnt
application/x-font-dfont .dfont
application/x-font-tex-tfm .tfm
application/x-font-speedo .spd
application/x-font-sfd .sfd =application/vnd.font-fontforge-sfd text
application/font-tdpfr .pfr

image/png .png =image/x-png !
image/apng .apng =image/vnd.mozilla.apng <image/png !
image/jpeg .jpg .jpeg .jpe .jfif .pjpeg .pjp .jif =image/jpg =image/pjpeg =image/x-jpeg =image/x-jpg !
image/gif .gif =image/x-gif !
image/webp .webp =image/x-webp !
image/bmp .bmp .dib .rle =image/rle =image/x-bmp =image/x-ms-bmp =image/x-windows-bmp !
image/tiff .tiff .tif .btf .tf8 =image/x-tiff =image/tif =image/x-tif !
image/geotiff .gtiff .geotiff <image/tiff !
image/ome-tiff <image/tiff !
image/vnd.microsoft.icon .ico =image/x-icon =image/ico =image/icon =image/x-ico =text/ico !
image/x-win-bitmap .cur =image/vnd.microsoft.cursor
application/x-navi-animation .ani =image/x-ani
image/avif .avif .avifs =image/avif-sequence <~heif !
image/heic .heic =image/heic-sequence .heics <image/heif !
image/heif .heif .hif .heifs =image/heif-sequence <~heif !
image/avci .avci <image/heif !
image/jxl .jxl =image/x-jxl !
image/jp2 .jp2 .jpg2 =image/jpeg2000 =image/jpeg2000-image =image/x-jpeg2000-image =image/x-jp2 <~jpeg2000 !
image/jpx .jpx .jpf <~jpeg2000 !
image/jpm .jpm .jpgm <~jpeg2000 !
image/jph .jph <~jpeg2000 !
image/jphc .jhc .jphc <~jpeg2000 !
image/j2c .j2k .j2c .jpc =image/x-jp2-codestream =image/x-j2k =image/jpc <~jpeg2000
video/mj2 .mj2 .mjp2 <~jpeg2000 !
image/jxr .jxr .wdp .hdp =image/vnd.ms-photo
image/jls .jls
image/jxs .jxs
image/svg+xml .svg =image/svg =image/svg-xml ! runs
image/vnd.adobe.photoshop .psd .psb .pdd =image/x-psb =image/x-photoshop =image/photoshop =image/x-psd =image/psd
 =application/photoshop =application/x-photoshop !
image/x-xcf .xcf
image/x-gimp-gbr .gbr
image/x-gimp-pat .pat
image/x-gimp-gih .gih
image/openraster .ora <application/zip !
application/x-krita .kra .krz <application/zip !
image/x-tga .tga .targa .icb .vda .vst? =image/x-targa =image/targa =image/tga =image/x-icb =application/tga
image/vnd.zbrush.pcx .pcx =image/x-pcx =image/pcx =image/vnd.zbrush.dcx .dcx
image/x-exr .exr =image/aces =image/exr =image/openexr
image/vnd.radiance .hdr .rgbe .xyze .pic? =image/x-hdr =image/x-radiance text
image/x-pfm .pfm?
image/vnd.ms-dds .dds =image/vnd-ms.dds =image/x-dds =image/x-direct-draw-surface
image/ktx .ktx
image/ktx2 .ktx2
image/x-pvr .pvr
image/x-astc .astc =image/astc
image/x-vtf .vtf =image/vnd.valve.source.texture
image/x-portable-bitmap .pbm .pnm? text
image/x-portable-graymap .pgm .pnm? text
image/x-portable-pixmap .ppm .pnm? text
image/x-portable-anymap .pnm text
image/x-portable-arbitrarymap .pam text
image/x-xbitmap .xbm =image/x-xbm text
image/x-xpixmap .xpm =image/x-xpm text
image/x-xwindowdump .xwd
image/x-xcursor .xcur
image/x-sgi .sgi .bw .rgba .int =image/sgi
image/x-rgb .rgb <image/x-sgi
image/x-sun-raster .ras .sun .im1 .im8 =image/x-cmu-raster =image/x-sun-ras
image/x-pict .pct .pict .pic =image/pict
image/x-macpaint .mac .pntg
image/x-quicktime .qtif .qti
image/x-icns .icns =image/icns
image/x-ilbm .iff .ilbm .lbm =image/x-iff
image/wmf .wmf =image/x-wmf =application/x-msmetafile =application/x-wmf =windows/metafile =application/wmf
image/emf .emf .emz? <application/gzip =image/x-emf =application/x-emf =application/emf
image/cgm .cgm text
image/vnd.dxf .dxf =image/x-dxf =application/dxf =application/x-dxf =drawing/x-dxf text
image/vnd.dwg .dwg =image/x-dwg =application/acad =application/x-acad =application/dwg =application/x-dwg =drawing/dwg
 =application/autocad_dwg
model/vnd.dwf .dwf =drawing/x-dwf =image/x-dwf
application/x-dgn .dgn =image/vnd.dgn
application/vnd.corel-draw .cdr .cdt =application/x-vnd.corel.draw.document+zip
 =application/x-vnd.corel.zcf.draw.document+zip <application/zip =application/cdr =application/coreldraw
 =application/x-coreldraw =image/x-cdr
 =image/x-coreldraw =application/x-cdr
application/x-affinity-designer .afdesign
application/x-affinity-photo .afphoto <application/x-affinity-designer
application/x-affinity-publisher .afpub <application/x-affinity-designer
image/x-canon-cr2 .cr2 <image/tiff !
image/x-canon-cr3 .cr3 =image/x-canon-cr3-raw
image/x-canon-crw .crw
image/x-nikon-nef .nef =image/x-nef <image/tiff !
image/x-nikon-nrw .nrw <image/tiff !
image/x-sony-arw .arw =image/x-arw <image/tiff !
image/x-sony-sr2 .sr2 <image/tiff !
image/x-sony-srf .srf <image/tiff !
image/x-adobe-dng .dng =image/dng =image/x-dng <image/tiff !
image/x-olympus-orf .orf =image/x-orf
image/x-panasonic-rw2 .rw2 .rwl? =image/x-panasonic-raw2
image/x-panasonic-raw .raw? =image/x-panasonic-rw
image/x-leica-rwl .rwl <image/x-panasonic-rw2
image/x-pentax-pef .pef =image/x-pef <image/tiff !
image/x-fuji-raf .raf =image/x-raf
image/x-samsung-srw .srw <image/tiff !
image/x-minolta-mrw .mrw
image/x-kodak-dcr .dcr <image/tiff !
image/x-kodak-kdc .kdc <image/tiff !
image/x-kodak-k25 .k25 <image/tiff !
image/x-hasselblad-3fr .3fr <image/tiff !
image/x-hasselblad-fff .fff <image/tiff !
image/x-epson-erf .erf <image/tiff !
image/x-mamiya-mef .mef <image/tiff !
image/x-leaf-mos .mos <image/tiff !
image/x-phaseone-iiq .iiq <image/tiff !
image/x-sigma-x3f .x3f
image/x-gopro-gpr .gpr <image/x-adobe-dng
image/x-dcraw
image/x-photo-cd .pcd? =image/x-kodak-photocd
image/vnd.fpx .fpx =image/x-fpx <application/x-ole-storage
image/vnd.fujixerox.edmics-mmr .mmr
image/g3fax .g3 =image/fax-g3
image/ief .ief
image/x-jng .jng
video/x-mng .mng =image/x-mng
image/bpg .bpg =image/x-bpg
image/flif .flif =image/x-flif
image/qoi .qoi =image/x-qoi
image/x-farbfeld .ff =image/farbfeld
image/vnd.wap.wbmp .wbmp
image/x-dpx .dpx =image/dpx
image/cineon .cin =image/x-cineon
image/x-skencil .sk
image/x-msod .msod
image/x-lwo .lwo .lwob
image/x-niff
image/prs.btif .btif
image/prs.pti .pti
image/vnd.dece.graphic .uvi
image/vnd.mix
image/vnd.xiff .xif
application/vnd.iccprofile .icc .icm =application/x-icc-profile
application/x-adobe-lut .cube text
application/x-photoshop-brush .abr
application/x-adobe-aco .aco
application/x-adobe-ase .ase

audio/mpeg .mp3 .mp2 .mpga .mp1 .m2a .mpa .m3a =audio/mp3 =audio/x-mp3 =audio/x-mpeg =audio/mpeg3 =audio/x-mpeg-3
 =audio/mpg =audio/x-mpg =audio/mp2 =audio/x-mp2 <~mpeg
audio/aac .aac .adts .adt =audio/x-aac =audio/aacp =audio/vnd.dlna.adts =audio/x-hx-aac-adts
audio/mp4 .m4a .m4b .m4p .m4r .mp4a .f4a .f4b =audio/m4a =audio/x-m4a =audio/x-m4b =audio/mp4a-latm =audio/x-mp4 <~mp4
 !
audio/flac .flac =audio/x-flac !
audio/ogg .ogg .oga .opus .spx =audio/x-ogg =audio/vorbis =audio/x-vorbis+ogg =audio/x-vorbis =audio/opus
 =audio/x-opus+ogg =audio/speex =audio/x-speex =audio/x-speex+ogg =audio/x-flac+ogg <~ogg !
audio/wav .wav .wave .rf64 =audio/x-wav =audio/wave =audio/vnd.wave =audio/x-pn-wav !
audio/x-w64 .w64 <audio/wav
audio/x-aiff .aiff .aif .aifc .aiffc .aff =audio/aiff =audio/x-aifc =audio/x-pn-aiff =sound/aiff
audio/basic .au .snd =audio/x-au =audio/x-basic =audio/au
audio/midi .mid .midi .kar .rmi =audio/x-midi =audio/mid =audio/x-mid =audio/sp-midi =application/x-midi =audio/x-rmid
 !
audio/amr .amr =audio/x-amr =audio/amr-encrypted
audio/amr-wb .awb =audio/amr-wb-encrypted
audio/x-ms-wma .wma .wax? =audio/wma =audio/x-wma <~asf
audio/x-ms-wax .wax
audio/x-matroska .mka =audio/matroska <~matroska
audio/webm .weba <~matroska !
audio/x-caf .caf =audio/caf
audio/ac3 .ac3 =audio/x-ac3 =audio/vnd.dolby.dd-raw
audio/eac3 .ec3 .eac3 =audio/x-eac3
audio/ac4 .ac4
audio/vnd.dolby.mlp .mlp =audio/mlp
audio/vnd.dolby.truehd .thd =audio/truehd
audio/vnd.dts .dts =audio/x-dts
audio/vnd.dts.hd .dtshd =audio/vnd.dts.uhd =audio/x-dtshd
audio/x-ape .ape =audio/ape =audio/x-monkeys-audio =audio/monkeys-audio
audio/x-musepack .mpc .mpp? .mp+ =audio/musepack =audio/x-mpc
audio/x-wavpack .wv .wvp =audio/wavpack
audio/x-wavpack-correction .wvc
audio/x-tta .tta =audio/tta =audio/x-trueaudio
audio/x-shorten .shn =application/x-shorten
audio/x-tak .tak
audio/x-ofr .ofr
audio/x-dsf .dsf =audio/dsf =audio/x-dsd
audio/x-dff .dff =audio/dff
audio/x-realaudio .ra .ram? =audio/vnd.rn-realaudio =audio/x-pn-realaudio =audio/vnd.m-realaudio
audio/x-pn-realaudio-plugin .rpm?
audio/x-aptx .aptx
audio/x-gsm .gsm =audio/gsm
audio/x-voc .voc =audio/voc
audio/x-8svx .8svx .svx =audio/8svx
audio/x-mod .mod .669 .mtm .ult .med .okt .uni .m15 =audio/mod =audio/x-protracker
audio/x-xm .xm =audio/xm
audio/x-s3m .s3m =audio/s3m
audio/x-it .it =audio/it
audio/x-stm .stm
audio/prs.sid .sid .psid =audio/x-psid
audio/x-nsf .nsf?
audio/x-spc .spc?
audio/x-sf2 .sf2 =audio/x-soundfont =audio/sf2
audio/x-vgm .vgm
audio/x-minipsf .minipsf =audio/x-psf .psf?
audio/qcelp .qcp =audio/evrc-qcp =audio/vnd.qcelp
audio/3gpp <~mp4
audio/3gpp2 <~mp4
audio/x-adpcm .adp
audio/x-iriver-pla .pla
audio/annodex .axa =audio/x-annodex <~ogg
audio/aax .aax =audio/vnd.audible.aax <~mp4
audio/vnd.audible.aa .aa =audio/audible =audio/x-pn-audibleaudio
audio/x-mpegurl .m3u =audio/mpegurl =application/m3u =audio/m3u =audio/x-m3u text
application/vnd.apple.mpegurl .m3u8 =application/x-mpegurl =audio/x-mpegurl8 <audio/x-mpegurl text
audio/x-scpls .pls =audio/scpls =application/pls text
application/x-smaf .mmf =audio/x-smaf =application/vnd.smaf
audio/imelody .imy text
audio/x-abc .abc =text/vnd.abc text
audio/mobile-xmf .mxmf
audio/mpegh .mhm1
application/x-ableton-live-set .als =application/x-ableton <application/gzip
application/x-guitar-pro .gp? .gp3 .gp4 .gp5 .gpx? .gtp =audio/x-gtp
application/x-lilypond .ly =text/x-lilypond text
application/x-musescore+xml .mscx
application/x-musescore .mscz <application/zip !
application/x-flp .flp
text/x-csound-orc .orc?
text/x-csound-sco .sco

video/mp4 .mp4 .mp4v .mpg4 .m4v? .f4v? =video/x-mp4 =application/mp4 =video/mp4v-es =video/mpeg4 <~mp4 !
video/x-m4v .m4v =video/m4v <~mp4 !
video/quicktime .mov .qt .moov .qtvr =video/x-quicktime =image/mov =video/mov <~mp4
video/3gpp .3gp .3gpp .3ga =video/3gp <~mp4 !
video/3gpp2 .3g2 .3gpp2 =video/3g2 <~mp4 !
video/iso.segment .m4s .cmfv .cmfa .m4f <~mp4
video/x-f4v .f4v .f4p <~mp4
video/webm .webm =video/x-webm <~matroska !
video/x-matroska .mkv .mks .mk3d =video/matroska =video/x-matroska-3d =video/matroska-3d =application/x-matroska
 <~matroska !
video/ogg .ogv .ogg? =video/x-ogg =video/x-theora+ogg =video/x-theora =video/theora =video/x-ogm+ogg .ogm <~ogg !
application/ogg .ogx =application/x-ogg <~ogg !
application/annodex .anx =application/x-annodex <~ogg
video/annodex .axv =video/x-annodex <~ogg
video/x-msvideo .avi .divx =video/vnd.avi =video/avi =video/msvideo =video/x-avi =video/vnd.divx
 =application/x-troff-msvideo !
video/x-ms-wmv .wmv =video/wmv =video/x-wmv <~asf
video/x-ms-asf .asf .asx? =application/vnd.ms-asf =video/asf =video/x-ms-asf-plugin =application/x-ms-asf <~asf !
video/x-ms-wm .wm <~asf
application/x-ms-asx .asx .wvx .wmx =audio/x-ms-asx =video/x-ms-asx =video/x-ms-wvx =video/x-ms-wmx text
video/x-ms-wtv .wtv
video/x-ms-dvr .dvr-ms <~asf
video/mpeg .sub? .mod? .mpg .mpeg .mpe .m1v .m2v .mpv .vob .m2p .mp2? .mpeg2 .dat? =video/x-mpeg =video/mpg =video/mpeg2
 =video/x-mpeg2 =video/mpeg-system =video/x-mpeg-system =video/mp2p =video/x-ms-vob =video/dvd <~mpeg
video/mp2t .ts .m2ts .m2t .mts .tsv? .trp .tp .cpi? =video/mpeg-ts =video/vnd.dlna.mpeg-tts =video/avchd =video/mts
video/x-flv .flv =video/flv =application/x-flash-video =flv-application/octet-stream !
application/x-shockwave-flash .swf .swfl =application/vnd.adobe.flash.movie =application/futuresplash .spl runs
application/x-director .dir .dxr .cst .cct .dcr? .w3d? =application/x-shockwave-director
application/vnd.rn-realmedia .rm .rmvb .rms =application/vnd.rn-realmedia-vbr =video/x-pn-realvideo
 =video/vnd.rn-realvideo .rv =video/x-real-video
video/dv .dv .dif =video/x-dv
video/x-yuv4mpeg .y4m =video/yuv4mpeg =application/x-yuv4mpeg
video/h264 .h264 .264 .avc .26l =video/x-h264 =video/avc
video/h265 .h265 .265 .hevc =video/x-h265 =video/hevc
video/h263 .h263
video/h261 .h261
video/av1 .av1 .obu =video/x-av1
video/x-ivf .ivf
video/x-flic .fli .flc =video/fli =video/flc =video/x-fli =application/x-flic
video/x-sgi-movie .movie =video/x-sgi-movies
video/x-nsv .nsv
video/x-nuv .nuv
video/x-anim .anim .anim1 .anim3 .anim5 .anim7 .anim8
video/x-smv .smv
video/x-bink .bik .bk2 =video/vnd.radgamettools.bink
video/x-smacker .smk =video/vnd.radgamettools.smacker
video/x-roq .roq
video/x-thp .thp
application/mxf .mxf =application/x-mxf =video/mxf
application/x-gxf .gxf =video/x-gxf
video/vnd.mpegurl .mxu text
video/vnd.vivo .viv .vivo
video/x-mjpeg .mjpg .mjpeg =video/mjpeg
video/vc1 .vc1
video/x-javafx .fxm
video/vnd.dvb.file .dvb
application/x-subtitle-idx .idx text
application/x-mpsub =text/x-mpsub text
application/x-pgs .sup =image/x-pgs-subtitles =application/x-pgs-subtitles
text/x-scc .scc =application/x-scc
application/x-stl-subtitle .stl? =application/x-ebu-stl
application/x-premiere-project .prproj <application/gzip
application/x-aftereffects .aep
application/x-final-cut .fcpxml <application/xml text
application/x-kdenlive .kdenlive <application/xml text
application/x-edl .edl text

model/gltf-binary .glb
model/gltf+json .gltf
model/stl .stl =model/x.stl-binary =model/x.stl-ascii =application/sla =application/vnd.ms-pki.stl =model/x-stl text
model/obj .obj =application/x-tgif =text/x-obj =application/prs.wavefront-obj text
model/mtl .mtl =text/x-mtl text
model/step .step .stp .p21 .210 =application/step =application/x-step =application/p21 text
model/step+zip .stpz
model/step+xml .stpx
model/iges .iges .igs =application/iges text
model/3mf .3mf =application/vnd.ms-package.3dmanufacturing-3dmodel+xml =model/vnd.3mf <application/zip !
model/vnd.usdz+zip .usdz =model/usd
model/vnd.usda .usda =model/x-usda text
model/vnd.usdc .usd .usdc =model/x-usd text
model/vnd.collada+xml .dae
model/x3d+xml .x3d
model/x3d-vrml .x3dv text
model/x3d+fastinfoset .x3db
model/vrml .wrl .vrml .wrz =x-world/x-vrml =application/x-vrml <application/gzip text
model/ply .ply =application/ply =application/x-ply =model/x-ply text
model/u3d .u3d
model/prc .prc?
model/jt .jt text
model/mesh .msh .mesh .silo text
model/vnd.parasolid.transmit.text .x_t .xmt_txt text
model/vnd.parasolid.transmit.binary .x_b .xmt_bin
application/vnd.autodesk.fbx .fbx =model/vnd.fbx =application/x-fbx =model/fbx =model/x-fbx text
image/x-3ds .3ds =application/x-3ds =application/x-3dstudio =model/x-3ds
application/x-blender .blend =application/x-blend <application/gzip <application/zstd
application/x-maya-binary .mb?
application/x-maya-ascii .ma? text
application/x-cinema4d .c4d
application/x-sketchup .skp =application/vnd.sketchup.skp
application/x-solidworks .sldprt .sldasm .slddrw =application/sldworks <application/x-ole-storage
application/vnd.autodesk.inventor.part .ipt <application/x-ole-storage
application/vnd.autodesk.inventor.assembly .iam <application/x-ole-storage
application/vnd.autodesk.revit .rvt .rfa <application/x-ole-storage
application/x-3dsmax .max <application/x-ole-storage
application/x-catia .catpart .catproduct
application/x-freecad .fcstd =application/x-extension-fcstd <application/zip !
application/x-openscad .scad text
application/x-rhino .3dm =model/vnd.rhino =model/x-3dm
application/x-ifc .ifc =model/ifc text
application/x-amf .amf =model/amf <application/xml text
text/x.gcode .gcode .nc? .gco =text/x-gcode =application/x-gcode
model/off .off text
model/x-md2 .md2
model/x-md3 .md3
application/x-vox .vox =model/x-vox
application/x-kicad-pcb .kicad_pcb .kicad_sch .kicad_mod =application/x-kicad-schematic text
application/x-kicad-project .kicad_pro <application/json text
application/vnd.gerber .gbr? .ger .gtl .gbl .gts .gbs .gto .gbo =application/x-gerber text
application/x-excellon .drl .xln =application/x-excellon-drill text
application/x-eagle .brd .sch <application/xml text
application/vnd.lotus-screencam .scm?
application/vnd.lotus-organizer .or?

application/x-apple-ds-store .ds_store
application/x-netshow-channel .nsc text
application/x-trash .bak .old .sik .swp?
application/x-vim-swap .swp
application/x-partial-download .part .crdownload
application/x-internet-signup .isp .ins text
application/dns .dns?
application/x-qw .qif text
application/x-ofx .ofx .qfx =application/vnd.intu.qfx text
application/vnd.hbci .hbci text
application/x-mt940 .mt940 .sta text
application/edifact .edi .edifact =application/edi-x12 text
application/vnd.hl7+v2 .hl7 =x-application/hl7-v2+er7 text
application/vnd.anki .apkg .colpkg <application/zip !
application/x-mswinurl .url .website =application/internet-shortcut text
application/x-ica .ica text
application/x-rdp .rdp text
application/x-virt-viewer .vv text
application/x-openvpn-profile .ovpn text
application/x-ms-application .application <application/xml text runs
application/x-ms-manifest .manifest <application/xml text
application/x-tex-pk .pk
application/x-tex-gf .gf
application/x-profile .prof
application/x-perfmon .blg
application/x-spkac .spkac
application/x-stardict .ifo?
application/x-systemd-journal .journal
application/x-cpuprofile .cpuprofile <application/json text
application/x-source-map .map? <application/json text
application/vnd.apple.pkpass .pkpass <application/zip !
application/vnd.etsi.asic-e+zip .asice .sce
application/vnd.etsi.asic-s+zip .asics
application/lpf+zip .lpf
application/widget .wgt <application/zip !
application/vnd.geogebra.file .ggb <application/zip !
application/sdp .sdp text
application/sieve .sieve .siv text
application/marc .mrc
application/marcxml+xml .mrcx
application/mods+xml .mods
application/mets+xml .mets
application/mads+xml .mads
application/yang .yang text
application/yin+xml .yin
application/vnd.sun.wadl+xml .wadl
application/vnd.chess-pgn .pgn =application/x-chess-pgn text
application/x-go-sgf .sgf text
text/vnd.familysearch.gedcom .ged .gedcom =application/x-gedcom
text/sgml .sgml .sgm
text/uri-list .uri .uris
text/x-sfv .sfv
text/spreadsheet .slk .sylk =application/x-sylk
text/cql .cql
text/shex .shex
text/spdx .spdx
text/wgsl .wgsl
text/dns .zone .soa
text/x-vala .vala .vapi
text/x-qml .qml .qmltypes .qmlproject
text/x-gdscript .gd =application/x-gdscript
text/x-eiffel .e .eif
text/x-rpm-spec .spec
text/x-systemd-unit .socket .timer .target .mount .automount .slice
text/x-moc .moc
text/x-xslfo .fo .xslfo
text/x-sagemath .sage
text/x-kaitai-struct .ksy
text/x-txt2tags .t2t
text/vnd.wap.wml .wml <application/xml
text/vnd.wap.wmlscript .wmls
application/vnd.wap.wbxml .wbxml
application/vnd.wap.wmlc .wmlc
application/vnd.wap.wmlscriptc .wmlsc
application/x-m4 .m4 text
application/x-docbook+xml .dbk .docbook =application/docbook+xml
application/x-xbel .xbel <application/xml text
application/owl+xml .owx
application/atomcat+xml .atomcat
application/atomsvc+xml .atomsvc
application/sparql-results+xml .srx
application/json-patch+json .json-patch
application/jrd+json .jrd
application/sarif+json .sarif
application/senml+json .senml
application/stix+json .stix
application/cellml+xml .cellml
application/swid+xml .swidtag
application/inkml+xml .ink .inkml
application/its+xml .its
application/emma+xml .emma
application/vnd.chemdraw+xml .cdxml
application/vnd.citationstyles.style+xml .csl
application/x-openzim .zim
application/x-mame-chd .chd
application/x-amiga-disk-format .adf
application/x-asar .asar
application/x-bsdiff .bsdiff
application/x-webarchive .webarchive <application/x-apple-binary-plist
application/x-wpg .wpg
application/vnd.ms-pki.seccat .cat
application/x-ms-wmz .wmz <application/gzip
application/vnd.fdsn.mseed .mseed .msd
application/vnd.maxmind.maxmind-db .mmdb
application/vnd.nitf .nitf .ntf =application/x-nitf =image/nitf
application/vnd.isac.fcs .fcs
application/vnd.lotus-freelance .prz .pre
application/vnd.lotus-approach .apr .vew
application/x-appleworks-document .cwk
application/x-font-ttx .ttx <application/xml text
application/x-zlib .zz .zlib =application/zlib
application/x-java-pack200 .pack
application/vnd.symbian.install .sis =x-epoc/x-sisx-app .sisx
application/x-godot-scene .tscn .scn .escn text
application/x-godot-resource .tres .res text
application/x-windows-themepack .themepack
application/x-t602 .602
application/andrew-inset .ez
application/x-netscape-revocation .revoc
image/vnd.ms-modi .mdi
image/x-corelphotopaint .cpt
image/x-jg .art
audio/dls .dls
audio/x-xi .xi
audio/usac .loas .xhe
audio/x-atrac3 .at3 .aa3 .oma .omg =audio/atrac3
audio/x-sd2 .sd2
model/vnd.vtu .vtu
model/vnd.moml+xml .moml
application/x-android-app-bundle .aab <application/zip runs !
application/x-android-archive .aar <application/zip !
application/x.scratch.sb3 .sb3 <application/zip !
video/x-nut .nut
image/x-msp .msp?
image/x-blp .blp
"""
