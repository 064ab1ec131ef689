-- From notebook Markdown to Typst: numbered floats, cross references, the abstract, plain tables.

local function typst(blocks)
  return (pandoc.write(pandoc.Pandoc(blocks), "typst"):gsub("%s+$", ""))
end

-- [the diagram](#fig-er) becomes a live "Figure 1", [the section](#Its-title) "Section 2", as notebooks name headings; a
-- link elsewhere stays a link.
local function Link(link)
  local id = link.target:match("^#(.+)$")
  if id then return pandoc.RawInline("typst", "#ref(<" .. id:lower() .. ">)") end
end

local function Cite(cite)
  local keys = cite.citations:map(function(c) return "#cite(<" .. c.id .. ">)" end)
  return pandoc.RawInline("typst", table.concat(keys))
end

-- ::: {.float #label kind="table"} caption, then Typst code :::
local function float(div)
  local caption, code = pandoc.Blocks({}), ""
  for _, block in ipairs(div.content) do
    if block.t == "RawBlock" then code = block.text else caption:insert(block) end
  end
  local call = ("report-float(<%s>, kind: %s, rows: %s, caption: [%s], {\n%s\n})"):format(
    div.identifier, div.attributes.kind, div.attributes.rows, typst(caption), code)
  local item = ('(kind: "%s", width: %s, body: {\n%s\n}, whole: %s)'):format(
    div.attributes.kind, div.attributes.width, code, call)
  return pandoc.Div({ pandoc.RawBlock("typst", "#" .. call .. "\n"), pandoc.RawBlock("item", item) },
    pandoc.Attr("", { "placed" }))
end

local abstract = pandoc.Blocks({})

local function Div(div)
  if div.classes:includes("abstract") then abstract = div.content; return {} end
  if div.classes:includes("float") then return float(div) end
  if div.classes:includes("box") then
    return pandoc.RawBlock("typst", "#result-box[\n" .. typst(div.content) .. "\n]\n")
  end
end

-- The notebook's ## is a section. {.unnumbered} headings stay without number, {.appendix} starts lettered sections, and
-- {.end} the small print.
local function Header(header)
  local id = header.identifier
  header.level = math.max(header.level - 1, 1)
  if header.classes:includes("appendix") then
    return { pandoc.RawBlock("typst", "#show: appendix"), header }
  end
  if header.classes:includes("unnumbered") then
    local small = header.classes:includes("end") and "#show: end-matter\n" or ""
    return pandoc.RawBlock("typst", small .. ("#heading(level: %d, numbering: none)[%s] <%s>"):format(
      header.level, typst({ pandoc.Plain(header.content) }), id))
  end
  return header
end

-- A Markdown table of prose: natural column widths instead of pandoc's percentages.
local function Table(tbl)
  for i, spec in ipairs(tbl.colspecs) do tbl.colspecs[i] = { spec[1], nil } end
  return tbl
end

-- In the appendix what stands between two headings is laid out together; before it each float stands for itself.
local function parts(blocks)
  local out, items, appendix = pandoc.Blocks({}), {}, false
  local function flush()
    if #items > 0 then
      out:insert(pandoc.RawBlock("typst", "#appendix-part((" .. table.concat(items, ",\n") .. ",))\n"))
    end
    items = {}
  end
  for _, block in ipairs(blocks) do
    local placed = block.t == "Div" and block.classes:includes("placed")
    if block.t == "RawBlock" and block.text == "#show: appendix" then appendix = true end
    if not appendix or block.t == "Header" or block.t == "RawBlock" then
      flush()
      out:insert(placed and block.content[1] or block)
    elseif placed then
      table.insert(items, block.content[2].text)
    else
      table.insert(items, '(kind: "text", whole: [' .. typst({ block }) .. "])")
    end
  end
  flush()
  return out
end

local function Pandoc(doc)
  doc.meta.abstract = pandoc.MetaBlocks(abstract)
  doc.blocks = parts(doc.blocks)
  return doc
end

return {
  { Link = Link, Cite = Cite },
  { Div = Div, Table = Table },
  { Header = Header, Pandoc = Pandoc },
}
