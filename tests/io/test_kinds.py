"""The table of kinds: real files, made where a module of Python's makes them, and heads of the others."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import plistlib
import sqlite3
import struct
import tarfile
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from depot_lite.errors import ConfigurationError, TypeRefused
from depot_lite.fields.validators import Candidate, ContentTypes, MatchingType
from depot_lite.io import media_types
from depot_lite.io.content import Content
from depot_lite.io.disposition import INLINE_TYPES
from depot_lite.io.media_types import markup, signatures, structures, vocabulary
from depot_lite.io.media_types.claims import contradicts_name
from depot_lite.io.media_types.detection import HEAD_SIZE, Sample, content_type_of, recognise, type_for
from depot_lite.io.media_types.kinds import KINDS
from depot_lite.io.media_types.vocabulary import matches, types_of_name
from tests.support.streams import Stream

_OOXML = "application/vnd.openxmlformats-officedocument"
_DOCX, _XLSX = f"{_OOXML}.wordprocessingml.document", f"{_OOXML}.spreadsheetml.sheet"


# --- the table --------------------------------------------------------------------------------------------------------


def _rows() -> list[tuple[str, list[str]]]:
    return [(row.split()[0], row.split()[1:]) for row in KINDS.replace("\n ", " ").split("\n") if row]


def test_each_kind_and_each_name_stands_once() -> None:
    types = [media_type for media_type, _ in _rows()]
    aliases = [word[1:] for _, words in _rows() for word in words if word[0] == "="]
    usual = [word for _, words in _rows() for word in words if word[0] == "." and word[-1] != "?"]
    for names in (types + aliases, usual):
        assert sorted(names) == sorted(set(names))
    assert all(media_types.valid_media_type(each) == each for each in types + aliases)
    words = {word for _, words in _rows() for word in words if word[0] not in ".=<"}
    assert words == {"!", "text", "runs"}


def test_whatever_is_found_is_a_kind() -> None:
    kinds = {media_type for media_type, _ in _rows()}
    parents = {word[1:] for _, words in _rows() for word in words if word[0] == "<" and word[1] != "~"}
    found = {str(row[0]) for row in signatures.SIGNATURES} | {each for _, each in signatures.TEXT_BEGINNINGS}
    assert parents | found | set(structures.STRUCTURES) | set(markup.ROOTS.values()) <= kinds


def test_nobody_else_is_asked() -> None:
    """The tables of the machine differ from one to the next."""
    folder = Path(media_types.__file__).parents[2]
    assert not [path for path in folder.rglob("*.py") if "import mimetypes" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.PDF", "application/pdf"),
        ("a.tar.gz", "application/gzip"),
        ("map.osm.pbf", "application/vnd.openstreetmap.data+pbf"),
        ("Makefile", "text/x-makefile"),
        ("folder/Dockerfile", "text/x-dockerfile"),
        ("clip.ts", "video/mp2t"),
        ("a.docm", "application/vnd.ms-word.document.macroenabled.12"),
        ("a.unheard-of", None),
        ("gz", None),
        ("", None),
        (".", None),
    ],
)
def test_a_name_has_a_type(name: str, expected: str | None) -> None:
    assert vocabulary.type_of_name(name) == expected


@pytest.mark.parametrize(
    ("media_type", "allowed", "expected"),
    [
        ("audio/midi", "audio/x-midi", True),
        ("audio/x-midi", "audio/midi", True),
        ("image/tiff", "image/*", True),
        ("image/jpg", "image/jpeg", True),
        (_DOCX, "application/zip", True),
        ("application/geo+json", "application/json", True),
        ("text/csv", "text/plain", True),
        ("application/rss+xml", "text/xml", True),
        ("application/zip", _DOCX, False),
        ("image/png", "audio/*", False),
        # They run: nobody allows them without naming them.
        ("text/html", "text/plain", False),
        ("image/svg+xml", "application/xml", False),
        ("image/svg+xml", "image/*", True),
        ("application/java-archive", "application/zip", False),
        ("application/vnd.android.package-archive", "application/zip", False),
        ("text/html", "text/html", True),
        ("image/png", "application/octet-stream", False),
    ],
)
def test_an_allowed_type_allows_its_other_names_and_kinds(media_type: str, allowed: str, expected: bool) -> None:
    assert matches(media_type, allowed) is expected


# --- heads ------------------------------------------------------------------------------------------------------------


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


def _mp3_frames(count: int) -> bytes:
    return (b"\xff\xfb\x90\x64" + bytes(413)) * count


def _adts(count: int) -> bytes:
    return (b"\xff\xf1\x50\x80\x04\x1f\xfc" + bytes(25)) * count


def _tiff(tag: int) -> bytes:
    return b"II*\x00\x08\x00\x00\x00\x01\x00" + struct.pack("<HHI4s", tag, 1, 4, b"\x01\x04\x00\x00") + bytes(4)


def _ole(*streams: str, root: str = "", at: int = 1) -> bytes:
    """Return an OLE file with a directory of these streams in one sector."""
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 62, 3, 0xFFFE, 9, 6)
    header = header.ljust(48, b"\x00") + struct.pack("<I", at)

    def entry(name: str, kind: int, class_id: str = "") -> bytes:
        encoded = name.encode("utf-16-le") + b"\x00\x00"
        start = encoded.ljust(64, b"\x00") + struct.pack("<HB", len(encoded), kind)
        return (start.ljust(80, b"\x00") + bytes.fromhex(class_id)).ljust(128, b"\x00")

    directory = entry("Root Entry", 5, root) + b"".join(entry(name, 2) for name in streams)
    return header.ljust((at + 1) * 512, b"\x00") + directory.ljust(2048, b"\x00")


_HEADS: list[tuple[str, bytes, str]] = [
    # images
    ("a.jls", b"\xff\xd8\xff\xf7\x00\x0b\x08" + bytes(20), "image/jls"),
    ("a.jxr", b"II\xbc\x01\x20\x00\x00\x00", "image/jxr"),
    ("a.crw", b"II\x1a\x00\x00\x00HEAPCCDR\x02\x00", "image/x-canon-crw"),
    ("a.cr3", _box(b"ftyp", b"crx \x00\x00\x00\x01crx isom"), "image/x-canon-cr3"),
    ("a.rw2", b"IIU\x00\x18\x00\x00\x00" + bytes(20), "image/x-panasonic-rw2"),
    ("a.raf", b"FUJIFILMCCD-RAW 0201FF383501" + bytes(20), "image/x-fuji-raf"),
    ("a.arw", b"II*\x00\x08\x00\x00\x00" + bytes(20), "image/x-sony-arw"),
    ("a.tif", _tiff(50706), "image/x-adobe-dng"),
    ("a.tif", _tiff(256), "image/tiff"),
    ("a.gpr", _tiff(50706), "image/x-gopro-gpr"),
    ("a.jxl", b"\xff\x0a\x10\x20\x37\xca", "image/jxl"),
    ("scan", b"\xff\x0a\x10\x20\x37\xca", "application/octet-stream"),
    ("a.jxl", b"\x00\x00\x00\x0cJXL \r\n\x87\n\x00\x00", "image/jxl"),
    ("a.3ds", b"MM\x20\x00\x00\x00\x02\x00\x0a\x00\x00\x00" + bytes(20), "image/x-3ds"),
    ("a.psb", b"8BPS\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03", "image/vnd.adobe.photoshop"),
    ("a.cur", b"\x00\x00\x02\x00\x01\x00\x20\x20\x00\x00\x01\x00\x01\x00" + bytes(20), "image/x-win-bitmap"),
    ("a.icns", b"icns\x00\x00\x10\x00ic07", "image/x-icns"),
    ("a.pcx", b"\x0a\x05\x01\x08\x00\x00\x00\x00" + bytes(130), "image/vnd.zbrush.pcx"),
    ("a.qoi", b"qoif\x00\x00\x00\x01\x00\x00\x00\x01\x03\x00", "image/qoi"),
    ("a.ktx2", b"\xabKTX 20\xbb\r\n\x1a\n" + bytes(20), "image/ktx2"),
    ("a.wmf", b"\xd7\xcd\xc6\x9a\x00\x00" + bytes(20), "image/wmf"),
    ("a.dwg", b"AC1032\x00\x00\x00\x00" + bytes(20), "image/vnd.dwg"),
    ("a.cdr", b"RIFF\x10\x00\x00\x00CDRvvrsn", "application/vnd.corel-draw"),
    ("a.xbm", b"#define a_width 16\n#define a_height 16\n", "image/x-xbitmap"),
    ("a.xpm", b'/* XPM */\nstatic char *a[] = {"1 1 1 1"};', "image/x-xpixmap"),
    ("a.jpx", b"\x00\x00\x00\x0cjP  \r\n\x87\n" + _box(b"ftyp", b"jpx \x00\x00\x00\x00jpx "), "image/jpx"),
    ("a.mj2", b"\x00\x00\x00\x0cjP  \r\n\x87\n" + _box(b"ftyp", b"mjp2\x00\x00\x00\x00mjp2"), "video/mj2"),
    ("a.ani", b"RIFF\x10\x00\x00\x00ACONanih", "application/x-navi-animation"),
    ("a.sgi", b"\x01\xda\x01\x01\x00\x03" + bytes(20), "image/x-sgi"),
    ("a.ras", b"\x59\xa6\x6a\x95" + bytes(28), "image/x-sun-raster"),
    ("a.fits", b"SIMPLE  =                    T / conforms" + b" " * 40, "application/fits"),
    ("a.svg", '\ufeff<svg xmlns="http://www.w3.org/2000/svg"/>'.encode("utf-16-le"), "image/svg+xml"),
    ("a.svg", b'\xef\xbb\xbf<?xml version="1.0"?><svg/>', "image/svg+xml"),
    # documents
    ("a.doc", _ole("WordDocument", "1Table"), "application/msword"),
    ("a.xls", _ole("Workbook"), "application/vnd.ms-excel"),
    ("a.ppt", _ole("PowerPoint Document", "Current User"), "application/vnd.ms-powerpoint"),
    ("a.vsd", _ole("VisioDocument"), "application/vnd.visio"),
    ("a.msg", _ole("__nameid_version1.0", "__properties_version1.0"), "application/vnd.ms-outlook"),
    ("a.pub", _ole("Quill", "Contents"), "application/x-mspublisher"),
    ("a.msi", _ole("x", root="84100c0000000000c000000000000046"), "application/x-msi"),
    ("a.docx", _ole("EncryptionInfo", "EncryptedPackage"), _DOCX),
    ("a.hwp", _ole("FileHeader", "BodyText"), "application/x-hwp"),
    ("a.mpp", _ole("Props14", root="3a8fb774c8c8d111be1100c04fb6faf1"), "application/vnd.ms-project"),
    ("a.mdb", b"\x00\x01\x00\x00Standard Jet DB\x00", "application/x-msaccess"),
    ("a.accdb", b"\x00\x01\x00\x00Standard ACE DB\x00", "application/x-msaccess"),
    ("a.wpd", b"\xffWPC\x10\x00\x00\x00\x01\x0a\x02\x01", "application/vnd.wordperfect"),
    ("a.wk1", b"\x00\x00\x02\x00\x06\x04\x06\x00\x08\x00", "application/vnd.lotus-1-2-3"),
    ("a.one", b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", "application/onenote"),
    ("a.indd", b"\x06\x06\xed\xf5\xd8\x1d\x46\xe5\xbd\x31\xef\xe7\xfe\x74\xb7\x1dDOCUMENT", "application/x-indesign"),
    ("a.ps", b"%!PS-Adobe-3.0 EPSF-3.0\n", "application/postscript"),
    ("a.pdf", b"\r\n%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "application/pdf"),
    ("a.pdf", b"--x\r\nContent-Type: application/pdf\r\n\r\n%PDF-1.4\n", "application/pdf"),
    ("a.lit", b"ITOLITLS\x01\x00\x00\x00", "application/x-ms-reader"),
    ("a.lrf", b"L\x00R\x00F\x00\x00\x00\xe7\x03", "application/x-sony-bbeb"),
    ("a.azw3", b"x" * 60 + b"BOOKMOBI" + bytes(30), "application/vnd.amazon.mobi8-ebook"),
    ("a.pdb", b"x" * 60 + b"TEXtREAd" + bytes(30), "application/vnd.palm"),
    ("a.fb2", b'<?xml version="1.0"?><FictionBook xmlns="x"/>', "application/x-fictionbook+xml"),
    (
        "a.kml",
        b'<?xml version="1.0"?><kml xmlns="http://www.opengis.net/kml/2.2"/>',
        "application/vnd.google-earth.kml+xml",
    ),
    (
        "a.fodt",
        b'<?xml version="1.0"?><office:document office:mimetype="application/vnd.oasis.opendocument.text"/>',
        "application/vnd.oasis.opendocument.text-flat-xml",
    ),
    ("a.xsl", b'<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform"/>', "application/xslt+xml"),
    ("a.winmail", b"\x78\x9f\x3e\x22\x01\x00", "application/vnd.ms-tnef"),
    ("a.pst", b"!BDN\x00\x00\x00\x00SM", "application/vnd.ms-outlook-pst"),
    # archives, disks, programs
    ("a.7z", b"7z\xbc\xaf'\x1c\x00\x04", "application/x-7z-compressed"),
    ("a.cbr", b"Rar!\x1a\x07\x01\x00", "application/vnd.comicbook-rar"),
    ("a.zst", b"\x28\xb5\x2f\xfd\x04\x00", "application/zstd"),
    ("a.lz", b"LZIP\x01\x0c", "application/x-lzip"),
    ("a.Z", b"\x1f\x9d\x90\x61", "application/x-compress"),
    ("a.cab", b"MSCF\x00\x00\x00\x00\x10\x00", "application/vnd.ms-cab-compressed"),
    ("a.lzh", b"\x22\x00-lh5-\x10\x00", "application/x-lzh-compressed"),
    ("a.rpm", b"\xed\xab\xee\xdb\x03\x00", "application/x-rpm"),
    ("a.cpio", b"070701000000010000\x00", "application/x-cpio"),
    ("a.a", b"!<arch>\nfoo.o/          0 \x00", "application/x-archive"),
    ("a.xar", b"xar!\x00\x1c\x00\x01", "application/x-xar"),
    ("a.pcap", b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00", "application/vnd.tcpdump.pcap"),
    ("a.pcapng", b"\x0a\x0d\x0d\x0a\x1c\x00\x00\x00\x4d\x3c\x2b\x1a", "application/x-pcapng"),
    ("a.qcow2", b"QFI\xfb\x00\x00\x00\x03", "application/x-qemu-disk"),
    ("a.vmdk", b"KDMV\x01\x00\x00\x00", "application/x-vmdk-disk"),
    (
        "a.vdi",
        b"<<< Oracle VM VirtualBox Disk Image >>>\n".ljust(64, b"\x00") + b"\x7f\x10\xda\xbe",
        "application/x-virtualbox-vdi",
    ),
    ("a.so", b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00", "application/x-sharedlib"),
    ("a.o", b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x01\x00\x3e\x00", "application/x-object"),
    ("A.class", b"\xca\xfe\xba\xbe\x00\x00\x00\x3d", "application/java-vm"),
    ("fat", b"\xca\xfe\xba\xbe\x00\x00\x00\x02", "application/x-mach-binary"),
    ("a.wasm", b"\x00asm\x01\x00\x00\x00", "application/wasm"),
    ("a.lnk", b"\x4c\x00\x00\x00\x01\x14\x02\x00" + bytes(20), "application/x-ms-shortcut"),
    ("a.ps1", b"Write-Host hi\n", "application/x-powershell"),
    ("script", b"#!/usr/bin/env python3\nprint()\n", "text/x-python"),
    (
        "a.exe",
        b"MZ\x50\x00\x02\x00\x00\x00\x04\x00\x0f\x00\xff\xff" + bytes(46),
        "application/vnd.microsoft.portable-executable",
    ),
    ("old", b"MZ\x50\x00\x02\x00\x00\x00\x04\x00\x0f\x00\xff\xff" + bytes(46), "application/x-dos-executable"),
    ("a.class", b"\xca\xfe\xba\xbe", "application/java-vm"),
    ("script", b"#!/bin/bash\necho\n", "application/x-sh"),
    # fonts
    ("a.ttf", b"\x00\x01\x00\x00\x00\x02\x00\x20\x00\x01\x00\x00cmap" + bytes(12) + b"glyf" + bytes(12), "font/ttf"),
    ("a.otf", b"OTTO\x00\x02\x00\x20", "font/otf"),
    ("a.ttc", b"ttcf\x00\x01\x00\x00", "font/collection"),
    ("a.pfb", b"\x80\x01\x10\x00\x00\x00%!PS-AdobeFont-1.0", "application/x-font-type1"),
    ("a.pcf", b"\x01fcp\x08\x00", "application/x-font-pcf"),
    ("a.bdf", b"STARTFONT 2.1\n", "application/x-font-bdf"),
    # sound and moving pictures
    ("a.mp3", _mp3_frames(3), "audio/mpeg"),
    ("recording", _mp3_frames(3), "audio/mpeg"),
    ("recording", _adts(3), "audio/aac"),
    ("recording", b"ID3\x03\x00\x00\x00\x00\x00\x0a" + bytes(10) + b"fLaC\x00\x00\x00\x22", "audio/flac"),
    ("recording", b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10) + _adts(3), "audio/aac"),
    ("a.mp2", (b"\xff\xfd\x80\x04" + bytes(518)) * 2, "audio/mpeg"),
    ("recording", (b"\xff\xff\x40\x04" + bytes(100)) * 3, "application/octet-stream"),
    ("recording", b"ADIF\x10\x00", "audio/aac"),
    ("recording", b"\x0bw\x00\x00\x14\x40", "application/octet-stream"),
    ("a.amr", b"#!AMR\n\x3c\x91", "audio/amr"),
    ("a.ac3", b"\x0bw\x00\x00\x14\x40" + bytes(762) + b"\x0bw\x00\x00\x14\x40", "audio/ac3"),
    ("a.ape", b"MAC \x96\x0f\x00\x00", "audio/x-ape"),
    ("a.wv", b"wvpk\x10\x00\x00\x00", "audio/x-wavpack"),
    ("a.dsf", b"DSD \x1c\x00\x00\x00", "audio/x-dsf"),
    ("a.xm", b"Extended Module: a" + bytes(20), "audio/x-xm"),
    ("a.sid", b"PSID\x00\x02\x00\x7c", "audio/prs.sid"),
    ("a.sf2", b"RIFF\x10\x00\x00\x00sfbkLIST", "audio/x-sf2"),
    ("a.opus", b"OggS\x00\x02" + bytes(20) + b"\x01\x13OpusHead\x01\x02", "audio/ogg"),
    ("a.ogg", b"OggS\x00\x02" + bytes(20) + b"\x01\x2a\x80theora\x03", "video/ogg"),
    ("a.m3u8", b"#EXTM3U\n#EXT-X-VERSION:3\n", "application/vnd.apple.mpegurl"),
    ("list", b"#EXTM3U\na.mp3\n", "audio/x-mpegurl"),
    ("film", _box(b"ftyp", b"isom\x00\x00\x02\x00isom") + _box(b"moov", b"trakhdlr" + bytes(8) + b"soun"), "audio/mp4"),
    ("film", _box(b"ftyp", b"isom\x00\x00\x02\x00isom") + _box(b"moov", b"soun" + bytes(8) + b"vide"), "video/mp4"),
    ("a.m4s", _box(b"styp", b"msdh\x00\x00\x00\x00msdh"), "video/iso.segment"),
    ("a.mka", b"\x1aE\xdf\xa3\x8b\x42\x82\x88matroska" + b"\x86\x86A_OPUS" + bytes(30), "audio/x-matroska"),
    ("a.ts", (b"G\x40\x11\x10" + bytes(184)) * 4, "video/mp2t"),
    ("a.mts", (b"\x00\x00\x00\x00G\x40\x11\x10" + bytes(184)) * 4, "video/mp2t"),
    ("a.ts", b"export const a = 1\n", "text/x-typescript"),
    ("a.ts", b'<!DOCTYPE TS><TS version="2.1">', "text/vnd.trolltech.linguist"),
    ("a.srt", b"no subtitles\n", "application/x-subrip"),
    ("a.asc", b"= Title\n", "text/plain"),
    ("a.asc", b"-----BEGIN PGP MESSAGE-----\n", "application/pgp-encrypted"),
    ("a.key", b"a secret\n", "text/plain"),
    ("a.html", b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"/>', "text/html"),
    ("a.xhtml", b'<html xmlns="http://www.w3.org/1999/xhtml">', "application/xhtml+xml"),
    ("a.wpl", b'<?wpl version="1.0"?><smil>', "application/vnd.ms-wpl"),
    ("a.gnumeric", b"\x1f\x8b\x08" + bytes(20), "application/x-gnumeric"),
    ("a.shx", b"\x00\x00\x27\x0a" + bytes(24) + b"\xe8\x03\x00\x00", "application/vnd.shx"),
    ("a.apng", b"\x89PNG\r\n\x1a\n" + bytes(20), "image/apng"),
    ("a.dib", b"\x28\x00\x00\x00" + bytes(8) + b"\x01\x00\x18\x00" + bytes(30), "image/bmp"),
    ("a.mxf", b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02", "application/mxf"),
    ("a.rm", b".RMF\x00\x00\x00\x12", "application/vnd.rn-realmedia"),
    ("a.fli", b"\x00\x10\x00\x00\x11\xaf\x01\x00\x40\x01\xc8\x00\x08\x00", "video/x-flic"),
    ("a.h264", b"\x00\x00\x00\x01\x67\x42\x00\x1e", "video/h264"),
    ("a.ivf", b"DKIF\x00\x00\x20\x00VP80", "video/x-ivf"),
    ("a.vtt", b"WEBVTT\n\n00:00.000 --> 00:01.000\nHi\n", "text/vtt"),
    ("a.ass", b"[Script Info]\nTitle: a\n", "text/x-ssa"),
    ("a.sub", b"{0}{25}Hi\n", "text/x-microdvd"),
    # models, data, databases
    ("a.stl", b"solid a\nfacet normal 0 0 0\n", "model/stl"),
    ("a.obj", b"v 0 0 0\n", "model/obj"),
    ("a.dae", b'<?xml version="1.0"?><COLLADA xmlns="x"/>', "model/vnd.collada+xml"),
    ("a.fbx", b"Kaydara FBX Binary  \x00\x1a\x00", "application/vnd.autodesk.fbx"),
    ("a.blend", b"BLENDER-v300REND", "application/x-blender"),
    ("a.usda", b"#usda 1.0\n(\n)\n", "model/vnd.usda"),
    ("a.wrl", b"#VRML V2.0 utf8\n", "model/vrml"),
    ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(8), "application/x-hdf5"),
    ("a.nc", b"CDF\x01\x00\x00\x00\x00", "application/x-netcdf"),
    ("a.mat", b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(128, b" "), "application/x-matlab-data"),
    ("a.arrow", b"ARROW1\x00\x00\xff\xff\xff\xff", "application/vnd.apache.arrow.file"),
    ("a.sav", b"$FL2@(#) SPSS DATA FILE\x00", "application/x-spss-sav"),
    ("a.grib", b"GRIB\x00\x00\x64\x01\x00", "application/x-grib"),
    ("a.las", b"LASF\x00\x00\x00\x00", "application/vnd.las"),
    ("a.dbf", b"\x03\x7b\x01\x01\x05\x00\x00\x00", "application/vnd.dbf"),
    ("a.kdbx", b"\x03\xd9\xa2\x9a\x67\xfb\x4b\xb5\x01\x00", "application/x-keepass2"),
    ("a.geojson", b'{"type": "FeatureCollection"}', "application/geo+json"),
    ("a.p12", b"\x30\x82\x0a\x00\x02\x01\x03", "application/pkcs12"),
    ("a.pem", b"-----BEGIN CERTIFICATE-----\nMII\n", "application/pem-certificate-chain"),
    ("a.csr", b"-----BEGIN CERTIFICATE REQUEST-----\nMII\n", "application/pkcs10"),
    # text in other encodings
    ("a.csv", "name;price\n".encode("utf-16"), "text/csv"),
    ("a.txt", "name and price of it\n".encode("utf-16-le"), "text/plain"),
    ("a.csv", "Größe;Preis\n".encode("latin-1"), "text/csv"),
]


@pytest.mark.parametrize(("name", "head", "expected"), _HEADS, ids=[f"{name}-{each[:8]!r}" for name, each, _ in _HEADS])
def test_a_head_and_its_name_have_this_type(name: str, head: bytes, expected: str) -> None:
    """The name contradicts nothing, and no declaration changes it."""
    finding = recognise(Sample(head))
    assert type_for(finding, None, name) == expected
    assert type_for(finding, "application/octet-stream", name) == expected
    assert type_for(finding, "image/png", name) == expected
    assert not contradicts_name(finding, name)


@pytest.mark.parametrize(
    "head",
    [
        b"GRIB is a format",
        b"PAR1 wins",
        b"ORCs and elves",
        b"LASF",
        b"wOFF you go",
        b"!BDN",
        b"%PDF is an extension",
        b"In line 7: %PDF-1.4 is the header",
        b"G" * 600,
        b"free time, skip it",
        b"duty free shop",
        b"\xff\xfenot UTF-16 at all",
    ],
    ids=repr,
)
def test_words_of_a_text_prove_nothing(head: bytes) -> None:
    assert content_type_of(head, None, None) == "text/plain"
    assert content_type_of(head, None, "notes.md") == "text/markdown"


# --- real files -------------------------------------------------------------------------------------------------------


def _zip(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return file.getvalue()


def _tar(mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]  # the mode is a variable
        archive.addfile(tarfile.TarInfo("a.txt"))
    return file.getvalue()


def _sqlite(application_id: int) -> bytes:
    with sqlite3.connect(":memory:") as database:
        database.execute(f"PRAGMA application_id = {application_id}")
        database.execute("CREATE TABLE a (b)")
        data = database.serialize()
    database.close()
    return data


def _wave() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(100))
    return file.getvalue()


def _picture(format_name: str, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (20, 10)).save(file, format_name)
    return file.getvalue()


_REAL: list[tuple[str, Callable[[], bytes], str]] = [
    ("a.zip", lambda: _zip(("a.txt", b"a")), "application/zip"),
    ("a.jar", lambda: _zip(("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\n")), "application/java-archive"),
    ("a.whl", lambda: _zip(("a/__init__.py", b""), ("a-1.dist-info/WHEEL", b"")), "application/x-wheel+zip"),
    ("a.tar", lambda: _tar("w"), "application/x-tar"),
    ("a.tgz", lambda: _tar("w:gz"), "application/gzip"),
    ("a.tar.xz", lambda: _tar("w:xz"), "application/x-xz"),
    ("a.gem", lambda: _tar("w"), "application/x-ruby-gem"),
    ("a.gz", lambda: gzip.compress(b"a"), "application/gzip"),
    ("a.bz2", lambda: bz2.compress(b"a"), "application/x-bzip2"),
    ("a.lzma", lambda: lzma.compress(b"a", lzma.FORMAT_ALONE), "application/x-lzma"),
    ("a.db", lambda: _sqlite(0), "application/vnd.sqlite3"),
    ("a.gpkg", lambda: _sqlite(0x47504B47), "application/geopackage+sqlite3"),
    ("a.mbtiles", lambda: _sqlite(0x4D504258), "application/vnd.mbtiles"),
    ("a.wav", _wave, "audio/wav"),
    ("a.plist", lambda: plistlib.dumps({"a": 1}), "application/x-plist"),
    ("b.plist", lambda: plistlib.dumps({"a": 1}, fmt=plistlib.FMT_BINARY), "application/x-apple-binary-plist"),
    ("a.png", lambda: _picture("PNG"), "image/png"),
    ("a.jpg", lambda: _picture("JPEG"), "image/jpeg"),
    ("a.gif", lambda: _picture("GIF"), "image/gif"),
    ("a.bmp", lambda: _picture("BMP"), "image/bmp"),
    ("a.webp", lambda: _picture("WEBP"), "image/webp"),
    ("a.tif", lambda: _picture("TIFF"), "image/tiff"),
    ("a.ico", lambda: _picture("ICO"), "image/vnd.microsoft.icon"),
    ("a.jp2", lambda: _picture("JPEG2000"), "image/jp2"),
    ("a.ppm", lambda: _picture("PPM"), "image/x-portable-pixmap"),
    ("a.pgm", lambda: _picture("PPM", "L"), "image/x-portable-graymap"),
    ("a.pcx", lambda: _picture("PCX"), "image/vnd.zbrush.pcx"),
    ("a.tga", lambda: _picture("TGA"), "image/x-tga"),
    ("a.sgi", lambda: _picture("SGI"), "image/x-sgi"),
    ("a.dds", lambda: _picture("DDS"), "image/vnd.ms-dds"),
    ("a.xbm", lambda: _picture("XBM", "1"), "image/x-xbitmap"),
    ("a.pdf", lambda: _picture("PDF"), "application/pdf"),
    ("a.eps", lambda: _picture("EPS"), "application/postscript"),
]


@pytest.mark.parametrize(("name", "make", "expected"), _REAL, ids=[each[0] for each in _REAL])
def test_a_real_file_has_this_type(name: str, make: Callable[[], bytes], expected: str, tmp_path: Path) -> None:
    """From memory, from a path, from a file and from a stream; with its name, and almost all without one."""
    data = make()
    (path := tmp_path / name).write_bytes(data)
    with path.open("rb") as file:
        for content in (Content.of(data, name), Content.of(path), Content.of(file), Content.of(Stream(data), name)):
            assert content.content_type == expected
            MatchingType()(Candidate.of(content))
    if name not in {"a.gem", "a.mbtiles"}:
        assert Content.of(data).content_type == expected


def _types(main: str) -> bytes:
    return f'<Types><Override PartName="/m.xml" ContentType="{main}.main+xml"/></Types>'.encode()


def test_the_content_types_of_an_office_document_may_stand_at_its_end(tmp_path: Path) -> None:
    """As openpyxl writes them; a stream that can be read once shows its head only, so its name decides."""
    large = bytes(range(256)) * 200
    parts = [(f"xl/media/{i}.bin", large) for i in range(3)]
    data = _zip(*parts, ("[Content_Types].xml", _types(_XLSX)), method=zipfile.ZIP_STORED)
    assert data.index(b"[Content_Types].xml") > HEAD_SIZE
    (path := tmp_path / "book").write_bytes(data)
    with path.open("rb") as file:
        for content in (Content.of(data), Content.of(path), Content.of(file)):
            assert content.content_type == _XLSX
        assert file.tell() == 0
    stream = Content.of(Stream(data), "book.xlsx")
    assert stream.content_type == _XLSX
    assert Content.of(Stream(data)).content_type == "application/zip"


@pytest.mark.parametrize(
    ("main", "name", "expected"),
    [
        (_DOCX, "a.docx", _DOCX),
        (_DOCX, "a.zip", _DOCX),
        (_DOCX, "a.dotx", f"{_OOXML}.wordprocessingml.template"),
        (_DOCX, "a.xlsx", _DOCX),
        (f"{_OOXML}.presentationml.slideshow", None, f"{_OOXML}.presentationml.slideshow"),
        ("application/vnd.ms-excel.sheet.macroEnabled", None, "application/vnd.ms-excel.sheet.macroenabled.12"),
        ("application/vnd.ms-visio.drawing", None, "application/vnd.ms-visio.drawing.main+xml"),
        ("application/x-something", "a.docx", _DOCX),
        ("application/x-something", None, "application/zip"),
    ],
)
def test_an_office_document_is_known_by_its_main_part(main: str, name: str | None, expected: str) -> None:
    assert Content.of(_zip(("[Content_Types].xml", _types(main))), name).content_type == expected


@pytest.mark.parametrize(
    ("entries", "name", "expected"),
    [
        ([("word/list.txt", b"a")], "a.zip", "application/zip"),
        ([("xl/1.jpg", b"a"), ("m/1.jpg", b"b")], None, "application/zip"),
        ([("report.docx", _zip(("[Content_Types].xml", _types(_DOCX))))], "a.zip", "application/zip"),
        ([("tour.kml", b"<kml/>")], "a.zip", "application/zip"),
        ([("doc.kml", b"<kml/>")], "a.kmz", "application/vnd.google-earth.kmz"),
        ([("AndroidManifest.xml", b""), ("classes.dex", b"")], None, "application/vnd.android.package-archive"),
        ([("AppxManifest.xml", b"")], None, "application/appx"),
        ([("AppxManifest.xml", b"")], "a.msix", "application/msix"),
        ([("3D/3dmodel.model", b""), ("[Content_Types].xml", b"")], None, "model/3mf"),
        ([("mimetype", b"application/epub+zip")], "a.zip", "application/epub+zip"),
        ([("mimetype", b"image/svg+xml")], None, "application/zip"),
        ([("META-INF/container.xml", b""), ("score.xml", b"")], "a.mxl", "application/vnd.recordare.musicxml"),
        ([("Index/Document.iwa", b""), ("Index/Slide-1.iwa", b"")], None, "application/vnd.apple.keynote"),
        ([("a.png", b"")], "a.cbz", "application/vnd.comicbook+zip"),
        ([("a.npy", b"")], "a.npz", "application/x-npz"),
        ([("a.usdc", b"PXR-USDC")], None, "model/vnd.usdz+zip"),
        (
            [("[Content_Types].xml", b'<a ContentType="application/vnd.ms-package.xps-fixeddocumentsequence+xml"/>')],
            None,
            "application/oxps",
        ),
    ],
)
def test_an_archive_is_looked_into(entries: list[tuple[str, bytes]], name: str | None, expected: str) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        data = _zip(*entries, method=method)
        assert Content.of(data, name).content_type == expected
        assert Content.of(Stream(data), name).content_type == expected


class _Pipe(io.BytesIO):
    """A file to which an archive is written without going back: sizes follow the entries."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError


@pytest.mark.parametrize(
    ("method", "expected"), [(zipfile.ZIP_DEFLATED, _DOCX), (zipfile.ZIP_STORED, "application/zip")]
)
def test_an_archive_that_was_written_to_a_pipe_is_looked_into(method: int, expected: str) -> None:
    """Of a stream, not behind a stored entry: nobody knows where it ends, or whether it is an archive itself."""
    file = _Pipe()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("docProps/app.xml", "<a/>" * 10)
        archive.writestr("[Content_Types].xml", _types(_DOCX))
    data = file.getvalue()
    assert Content.of(data).content_type == _DOCX
    padded = data + bytes(2 * HEAD_SIZE)  # without the list at its end
    assert Content.of(Stream(padded)).content_type == expected


def test_a_damaged_archive_is_one_all_the_same() -> None:
    data = bytearray(_zip(("[Content_Types].xml", _types(_DOCX) * 9), ("word/document.xml", b"")))
    data[49:60] = b"\xff" * 11
    assert Content.of(bytes(data)).content_type == _DOCX
    assert Content.of(bytes(data[:40])).content_type == "application/zip"


def test_a_large_directory_or_a_large_tag_is_found_where_it_is(tmp_path: Path) -> None:
    ole = _ole("WordDocument", at=100)
    assert Content.of(ole).content_type == "application/msword"
    assert Content.of(Stream(ole), "a.doc").content_type == "application/msword"
    size = bytes([0, 4, 0, 0])
    tagged = b"ID3\x03\x00\x00" + size + bytes(4 << 14) + b"fLaC\x00\x00\x00\x22" + bytes(50)
    assert Content.of(tagged).content_type == "audio/flac"
    assert Content.of(tagged, "a.mp3").content_type == "audio/flac"
    assert Content.of(Stream(tagged), "a.flac").content_type == "audio/flac"
    image = bytes(0x8001) + b"CD001\x01" + bytes(2000)
    (path := tmp_path / "disk").write_bytes(image)
    assert Content.of(path).content_type == "application/x-iso9660-image"
    assert Content.of(bytes(9000) + b"conectix" + bytes(504)).content_type == "application/x-vhd-disk"
    koly = bytes(9000) + b"koly\x00\x00\x00\x04" + bytes(504)
    assert Content.of(koly).content_type == "application/x-apple-diskimage"


def test_of_a_large_archive_a_bounded_part_is_read() -> None:
    """However many entries it has."""
    reads: list[int] = []
    data = _zip(*((f"folder/{i:06}.txt", b"") for i in range(3_000)))

    def read_at(start: int, size: int) -> bytes:
        reads.append(size)
        return data[start : start + size]

    assert recognise(Sample(data[:HEAD_SIZE], len(data), read_at)).media_type == "application/zip"
    assert sum(reads) <= 1024 + 64 * 1024
    bomb = _zip(("[Content_Types].xml", bytes(5_000_000)))
    assert recognise(Sample(bomb[:HEAD_SIZE], len(bomb), None)).media_type == "application/zip"


# --- dangerous files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "name", "declared"),
    [
        (b"<script>alert(1)</script>", "a.png", "image/png"),
        (b"<html>", "a.txt", "text/plain"),
        (b"<svg onload=alert(1)>", "a.png", "image/png"),
        (b"<!--ftypisom--><script>alert(1)</script>", "a.mp4", "video/mp4"),
        (b"<!--skip--><script>alert(1)</script>", "a.mov", "video/quicktime"),
        (b"hello", "a.html", "image/png"),
        ("<script>".encode("utf-16"), "a.csv", "text/csv"),
        ("\ufeff<svg onload=alert(1)>".encode("utf-32"), "a.txt", None),
        (b"<!-- " + b"x" * 9000, "a.png", "image/png"),
        (b"%!PS <script>", "a.html", None),
    ],
    ids=repr,
)
def test_what_a_browser_could_run_is_never_shown(head: bytes, name: str, declared: str | None) -> None:
    assert content_type_of(head, declared, name) not in INLINE_TYPES
    with pytest.raises(TypeRefused):
        ContentTypes("image/png", "text/plain", "application/xml", "application/zip")(
            Candidate.of(head, name, declared)
        )


def test_a_text_is_no_image_because_it_is_called_one() -> None:
    assert content_type_of(b"hello", "image/svg+xml", "a.svg") == "text/plain"
    assert content_type_of(b"hello", "image/png", "a.png") == "text/plain"


@pytest.mark.parametrize("name", ["a.html", "a.svg", "a.gif", None])
@pytest.mark.parametrize("declared", ["text/html", "image/svg+xml", None])
def test_a_polyglot_of_gif_and_html_is_a_gif(name: str | None, declared: str | None) -> None:
    assert content_type_of(b"GIF89a/*<html><script>alert(1)</script>", declared, name) == "image/gif"


# --- types of users ---------------------------------------------------------------------------------------------------


def test_a_user_adds_a_type() -> None:
    media_types.register(
        "application/x-board",
        extensions=[".Board"],
        signatures=[(0, b"BOARD\x00"), (0, b"RIFF", 8, b"BORD")],
        aliases=["application/x-old-board"],
        parents=["application/zip"],
        always_signed=True,
    )
    assert content_type_of(b"RIFF\x00\x00\x00\x00BORD", None, None) == "application/x-board"
    assert content_type_of(b"BOARD\x00", "text/plain", "a.txt") == "application/x-board"
    assert content_type_of(_zip(("a", b"")), None, "a.board") == "application/x-board"
    assert content_type_of(b"\x00\x01", None, "a.board") == "application/octet-stream"
    assert matches("application/x-old-board", "application/x-board")
    assert types_of_name("a.board") == ("application/x-board",)
    media_types.register("text/x-board-notes", extensions=["board-notes"])
    assert content_type_of(b"a", None, "a.board-notes") == "text/x-board-notes"


@pytest.mark.parametrize(
    "options",
    [
        {"media_type": "board"},
        {"media_type": "application/octet-stream"},
        {"aliases": ["a b/c"]},
        {"parents": [""]},
        {"signatures": [(0,)]},
        {"signatures": [()]},
        {"signatures": [(b"a", 0)]},
        {"signatures": [(-1, b"a")]},
        {"signatures": [(HEAD_SIZE, b"a")]},
        {"signatures": [(0, b"")]},
        {"signatures": [(0, "text")]},
    ],
)
def test_a_type_that_is_none_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=r"expected|unknown"):
        media_types.register(**{"media_type": "application/x-refused", **options})  # type: ignore[arg-type]  # wrong on purpose


def test_a_type_of_text_may_have_a_parent_of_text() -> None:
    media_types.register("application/x-ladder", extensions=["lad"], parents=["text/plain"])
    assert content_type_of(b"1 2", None, "a.lad") == "application/x-ladder"


@pytest.mark.parametrize("name", ["extensions", "aliases", "parents"])
def test_one_text_is_no_list(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}='board': expected a list"):
        media_types.register("application/x-refused", **{name: "board"})  # type: ignore[arg-type]  # wrong on purpose


# --- hostile ----------------------------------------------------------------------------------------------------------


def test_text_of_a_thousand_lines_is_recognised_at_once() -> None:
    """A regular expression that tries all ways to part them would never end."""
    assert content_type_of(b"999\n\r\n" * 1300, None, None) == "text/plain"
    assert content_type_of(b"999\r\nnote\r\n0\r\nSECTION\r\n", None, None) == "image/vnd.dxf"


@pytest.mark.parametrize(
    "page",
    [
        b"\x0c<p ftypisom><script>alert(1)</script>\1",
        b"<html><script>alert(1)</script>\1\n%PDF-1.4",
        b"<html>".ljust(20) + b"GIMP<script>\1",
        b"<!--><script>alert(1)</script>--><foo>",
        b"<svg xmlns='http://www.w3.org/2000/svg'>\1</svg>",
    ],
)
@pytest.mark.parametrize("name", [None, "a.tga", "a.pdf", "a.xbm", "a.mp4"])
def test_a_control_character_hides_no_page(page: bytes, name: str | None) -> None:
    found = content_type_of(page, None, name)
    assert found in ("text/html", "image/svg+xml")
    with pytest.raises(TypeRefused):
        ContentTypes("image/png", "application/pdf", "video/*")(Candidate.of(page, name))


def test_documents_with_macros_are_no_documents() -> None:
    document = _zip(("[Content_Types].xml", _types("application/vnd.ms-word.document.macroEnabled")))
    assert content_type_of(document, None, None) == "application/vnd.ms-word.document.macroenabled.12"
    for name in ("a.docm", "a.docx"):
        with pytest.raises(TypeRefused):
            ContentTypes(_DOCX)(Candidate.of(document, name))


def test_a_program_is_no_document_whatever_its_name() -> None:
    program = _zip(("META-INF/MANIFEST.MF", b"x"), ("A.class", b"x"))
    for name in ("a.docx", "a.zip", "a.jar"):
        assert content_type_of(program, None, name) == "application/java-archive"
    for allowed in (_DOCX, "application/zip"):
        with pytest.raises(TypeRefused):
            ContentTypes(allowed)(Candidate.of(program, "a.docx"))


def test_plain_text_is_no_xml_and_a_family_has_all_names_of_its_kinds() -> None:
    assert not matches("application/xml", "text/plain")
    assert matches("text/xml", "text/*")
    assert matches("image/x-eps", "image/*")


def test_a_box_that_is_longer_than_numbers_of_the_system_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    box = b"\0\0\0\1free" + (2**64 - 16).to_bytes(8, "big")
    path.write_bytes(b"\0\0\0\x10ftypisom\0\0\0\0" + box + bytes(9000))
    assert Candidate.of(path, "a.mp4").content_type == "video/mp4"


@pytest.mark.parametrize("name", ["plan.pdf.1", "Contract v1.2", "a.pdf.bak", "a.mp4.part", "archive.old"])
def test_an_ending_that_says_nothing_contradicts_nothing(name: str) -> None:
    MatchingType()(Candidate.of(b"%PDF-1.7\n", name))


def test_a_document_is_not_what_is_embedded_in_it() -> None:
    """A workbook that contains a Word document has the streams of both in its directory."""

    def entry(name: str, kind: int, left: int, right: int, child: int) -> bytes:
        encoded = name.encode("utf-16-le") + b"\0\0"
        links = struct.pack("<III", left, right, child)
        return encoded.ljust(64, b"\0") + struct.pack("<HBB", len(encoded), kind, 1) + links + bytes(48)

    none = 0xFFFFFFFF
    directory = b"".join(
        (
            entry("Root Entry", 5, none, none, 2),
            entry("WordDocument", 2, none, none, none),
            entry("MBD0001", 1, none, 3, 1),
            entry("Workbook", 2, none, none, none),
        )
    )
    header = bytearray(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".ljust(512, b"\0"))
    header[30:32], header[48:52] = struct.pack("<H", 9), struct.pack("<I", 0)
    assert content_type_of(bytes(header) + directory, None, None) == "application/vnd.ms-excel"
